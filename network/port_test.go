package network

import (
	"fmt"
	"strings"
	"testing"
)

func TestParsePorts(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"80", "80/tcp"},
		{"8080:80", "8080:80/tcp"},
		{"8080:80/udp", "8080:80/udp"},
		{"8080:80/SCTP", "8080:80/sctp"},
		{":80", "80/tcp"},
		{"0:80", "80/tcp"},
		{"127.0.0.1::80", "127.0.0.1::80/tcp"},
		{"127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp"},
		{"127.0.0.1:8080-8081:80-81/udp", "127.0.0.1:8080-8081:80-81/udp"},
		{"0.0.0.0:80:80", "0.0.0.0:80:80/tcp"},
		{"[::1]:80:80", "[::1]:80:80/tcp"},
		{"[::]:80:80", "[::]:80:80/tcp"},
		{"[::1]::80", "[::1]::80/tcp"},
		{"[::1]:80", "[::1]::80/tcp"},
		{"[::ffff:10.0.0.1]:80:80", "10.0.0.1:80:80/tcp"},
		{"80-82:80-82", "80-82:80-82/tcp"},
		{"1-65535:1-65535", "1-65535:1-65535/tcp"},
		{"8000-8009:80", "8000-8009:80/tcp"},
		{"80-82", "80/tcp 81/tcp 82/tcp"},

		{"", `publish "": port of the container: it is missing`},
		{"8080:", `publish "8080:": port of the container: it is missing`},
		{"80:80/", `publish "80:80/": unknown protocol ""; there are tcp, udp and sctp`},
		{"80/icmp", `publish "80/icmp": unknown protocol "icmp"; there are tcp, udp and sctp`},
		{"65536:80", `publish "65536:80": port of the host: 65536 is not between 1 and 65535`},
		{"80:0", `publish "80:0": port of the container: 0 is not between 1 and 65535`},
		{"80:99999999999999999999", `publish "80:99999999999999999999": port of the container: 99999999999999999999 is not between 1 and 65535`},
		{"80:-1", `publish "80:-1": port of the container: it is missing`},
		{"80:+1", `publish "80:+1": port of the container: "+1" is not a number`},
		{"http:80", `publish "http:80": port of the host: "http" is not a number`},
		{"82-80:82-80", `publish "82-80:82-80": port of the container: the range 82-80 is reversed`},
		{"82-80:80", `publish "82-80:80": port of the host: the range 82-80 is reversed`},
		{"80-82:80-81", `publish "80-82:80-81": the host's range has 3 ports, the container's 2`},
		{"80:80-81", `publish "80:80-81": the host's range has 1 ports, the container's 2`},
		{"example.com:80:80", `publish "example.com:80:80": "example.com" is not an IP address`},
		{"10.0.0.1:80", `publish "10.0.0.1:80": 10.0.0.1 is an address; write 10.0.0.1::80 for any port of the host`},
		{"::1:80:80", `publish "::1:80:80": too many colons; an IPv6 address stands in brackets, [::1]:80:80`},
		{":80:80", `publish ":80:80": no address in front of the first colon`},
		{"[::1]80:80", `publish "[::1]80:80": no IPv6 address in brackets, with a colon behind it`},
		{"[::1", `publish "[::1": no IPv6 address in brackets, with a colon behind it`},
		{"[::1]:1:2:3", `publish "[::1]:1:2:3": too many colons`},
		{"[fe80::1%eth0]:80:80", `publish "[fe80::1%eth0]:80:80": fe80::1%eth0: an address with a zone cannot be published on`},
		{"224.0.0.1:80:80", `publish "224.0.0.1:80:80": 224.0.0.1 is a multicast address`},
	} {
		ports, err := ParsePorts(c.text)
		var texts []string
		for _, p := range ports {
			texts = append(texts, p.String())
			again, err := ParsePorts(p.String())
			if err != nil || len(again) != 1 || again[0] != p {
				t.Errorf("%s is read as %v, %v", p, again, err)
			}
		}
		if got := strings.Join(texts, " "); err == nil && got != c.want || err != nil && err.Error() != c.want {
			t.Errorf("%q: got %s, %v, want %s", c.text, got, err, c.want)
		}
	}
}

func TestBindings(t *testing.T) {
	var ports []Port
	for _, text := range []string{"8081:81", "8080:80", "127.0.0.1:53:53/udp", "[::1]:9000-9001:9000-9001"} {
		p, err := ParsePorts(text)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, p...)
	}
	want := `53/udp -> 127.0.0.1:53
80/tcp -> 0.0.0.0:8080
80/tcp -> [::]:8080
81/tcp -> 0.0.0.0:8081
81/tcp -> [::]:8081
9000/tcp -> [::1]:9000
9001/tcp -> [::1]:9001`
	if got := strings.Join(Bindings(ports, true, true), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := fmt.Sprint(Bindings(ports, true, false)); got != "[53/udp -> 127.0.0.1:53 80/tcp -> 0.0.0.0:8080 81/tcp -> 0.0.0.0:8081]" {
		t.Error(got)
	}
}

// FuzzParsePorts: what is read is usable, and prints as what reads the same.
func FuzzParsePorts(f *testing.F) {
	for _, text := range []string{"80", "127.0.0.1:80-81:80-81/udp", "[::1]:80:80", "8000-9000:80/sctp", "1-65535:1-65535"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ports, err := ParsePorts(text)
		if err != nil {
			if len(ports) > 0 || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, %v", ports, err)
			}
			return
		}
		for _, p := range ports {
			end := int(p.HostPort) + int(max(p.Count, p.Among)) - 1
			if p.Count == 0 || p.ContainerPort == 0 || int(p.ContainerPort)+int(p.Count)-1 > 65535 || p.HostPort != 0 && end > 65535 {
				t.Errorf("%q is read as %+v", text, p)
			}
			again, err := ParsePorts(p.String())
			if err != nil || len(again) != 1 || again[0] != p {
				t.Errorf("%s is read as %v, %v", p, again, err)
			}
		}
	})
}
