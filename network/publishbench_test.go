package network

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// crowd publishes count ports of another container, as if they were many
// containers' single ports.
func crowd(b *testing.B, l *lab, count int) {
	b.Helper()
	var list []element
	for i := range count {
		p := Port{HostIP: ipv4.unspecified(), HostPort: uint16(10000 + i), ContainerPort: 80, Count: 1, Protocol: "tcp"}
		e := p.elements(l.ports(b, "b1", "1:1").Address)[0]
		e.comment = fmt.Sprintf("container crowd%d %s", i, strings.Repeat("c", 64))
		list = append(list, e)
	}
	if err := (&PublishPorts{}).change(nil, map[family][]element{ipv4: list}); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPublish adds and removes a port, or a range, where so many are there.
func BenchmarkPublish(b *testing.B) {
	for _, ports := range []string{"30000:80/tcp", "30000:80/udp", "30000-34999:30000-34999/tcp", "30000-34999:40000-44999/tcp"} {
		for _, there := range []int{10, 1000, 10000} {
			for _, verb := range []string{"add", "remove"} {
				b.Run(fmt.Sprintf("%s/%s/%d", strings.ReplaceAll(ports, "/", "-"), verb, there), func(b *testing.B) {
					l := newLab(b)
					crowd(b, l, there)
					s := l.ports(b, "a1", ports)
					for b.Loop() {
						if verb == "remove" {
							b.StopTimer()
						}
						if err := s.Apply(); err != nil {
							b.Fatal(err)
						}
						b.StopTimer()
						if verb == "remove" {
							b.StartTimer()
						}
						if err := s.Undo(); err != nil {
							b.Fatal(err)
						}
						b.StartTimer()
					}
				})
			}
		}
	}
}

// BenchmarkNetworkElements puts a network into the tables where so many are there.
func BenchmarkNetworkElements(b *testing.B) {
	for _, there := range []int{1, 1000} {
		b.Run(fmt.Sprint(there), func(b *testing.B) {
			newLab(b)
			network := func(i int) *AddFirewall {
				s := &AddFirewall{Network: fmt.Sprintf("n%d", i), Bridge: fmt.Sprintf("br-%d", i)}
				s.Gateway = netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.1/24", i/250, i%250))
				return s
			}
			for i := range there {
				if err := network(i).Apply(); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				s := network(5000)
				if err := s.Apply(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := s.Undo(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
