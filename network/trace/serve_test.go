package trace

import (
	"fmt"
	"net"
	"testing"
)

// serve listens in the namespace of the calling thread until the test's end.
func serve(t testing.TB, port uint16) {
	t.Helper()
	address := fmt.Sprintf(":%d", port)
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	t.Cleanup(func() {
		if err := tcp.Close(); err != nil {
			t.Error(err)
		}
		if err := udp.Close(); err != nil {
			t.Error(err)
		}
		<-done
		<-done
	})
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				done <- struct{}{}
				return
			}
			_ = c.Close() // whoever traces resets it anyway
		}
	}()
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := udp.ReadFrom(b)
			if err != nil {
				done <- struct{}{}
				return
			}
			_, _ = udp.WriteTo(b[:n], from) // a rule of the test may forbid it
		}
	}()
}
