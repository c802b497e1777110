package network

import (
	"net"
	"testing"
	"time"
)

// sayName answers every UDP packet at the port with the name.
func sayName(t *testing.T, ns Netns, port, name string) {
	t.Helper()
	var p net.PacketConn
	err := ns.Do(func() (err error) { p, err = net.ListenPacket("udp", ":"+port); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	go func() {
		buffer := make([]byte, 100)
		for {
			_, from, err := p.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = p.WriteTo([]byte(name), from)
		}
	}()
}

// TestForgotten: a client of UDP that goes on with the same port of its own
// reaches what is behind the port now, and a stranger's flows are left alone.
func TestForgotten(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{"a1", "a2", "lan"} {
		sayName(t, l.at[name], "7777", name)
	}
	for target, passing := range map[string]string{"192.0.2.1:8888": "192.0.2.2:7777", "[2001:db8::1]:8888": "[2001:db8::2]:7777"} {
		ask := sending(t, l.lan, target)
		bystander := sending(t, l.at["b1"], passing)
		if got := bystander(); got != "lan" {
			t.Fatalf("from b1 to lan: %s", got)
		}
		if got := ask(); got != "refused" {
			t.Errorf("%s, unpublished: %s", target, got)
		}
		for _, name := range []string{"a1", "a2"} {
			s := l.publish(t, name, "8888:7777/udp")
			many := l.publish(t, name, "7700-7799:7700-7799/udp") // b1's flow has such a port
			if got := ask(); got != name {
				t.Errorf("%s, published by %s: %s", target, name, got)
			}
			for _, s := range []*PublishPorts{s, many} {
				if err := s.Undo(); err != nil {
					t.Fatal(err)
				}
			}
			if got := ask(); got != "refused" {
				t.Errorf("%s, taken back from %s: %s", target, name, got)
			}
		}
		// Its entry is there still: with a new one the first packet would be new.
		sh(t, "nft 'add table inet probe; add chain inet probe f { type filter hook forward priority 0; }; add rule inet probe f udp dport 7777 ct state new drop'")
		if got := bystander(); got != "lan" {
			t.Errorf("the flow from b1 to lan was forgotten, too: %s", got)
		}
		sh(t, "nft delete table inet probe")
	}
}

// sending sends from one port and gives the answer.
func sending(t *testing.T, from Netns, target string) func() string {
	t.Helper()
	var c net.Conn
	err := from.Do(func() (err error) { c, err = net.Dial("udp", target); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return func() string {
		buffer := make([]byte, 100)
		for range 2 {
			_ = c.SetDeadline(time.Now().Add(time.Second))
			if _, err := c.Write([]byte("x")); err != nil {
				continue // the answer to the one before was that nobody was there
			}
			if n, err := c.Read(buffer); err == nil {
				return string(buffer[:n])
			}
		}
		return "refused"
	}
}
