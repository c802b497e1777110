package network

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHostsFile(t *testing.T) {
	one := []Endpoint{{
		Network:   Network{Gateway: netip.MustParsePrefix("172.17.0.1/16")},
		Interface: Interface{Address: netip.MustParsePrefix("172.17.0.2/16")},
	}}
	two := append(one[:1:1], Endpoint{Interface: Interface{Address: netip.MustParsePrefix("172.18.0.5/24"), Address6: netip.MustParsePrefix("fd00::5/64")}})
	inner := []Endpoint{one[0]}
	inner[0].Network.Internal = true
	for _, c := range []struct {
		request HostsRequest
		want    string // behind the head; with "error: " the error
	}{
		{HostsRequest{}, ""},
		{HostsRequest{Hostname: "web", Endpoints: one}, "172.17.0.2\tweb\n"},
		{HostsRequest{Hostname: "web.example.org", Endpoints: one}, "172.17.0.2\tweb.example.org web\n"},
		{HostsRequest{Add: []string{"db:10.0.0.9", "six=[fd00::1]", "seven:fd00::2", "host:host-gateway"}, Endpoints: one}, "10.0.0.9\tdb\nfd00::1\tsix\nfd00::2\tseven\n172.17.0.1\thost\n"},
		{HostsRequest{Hostname: "web", Endpoints: two}, "172.17.0.2\tweb\n172.18.0.5\tweb\nfd00::5\tweb\n"},
		{HostsRequest{Add: []string{"host:host-gateway"}, Endpoints: inner}, `error: add-host "host:host-gateway": this network has no gateway to the host`},
		{HostsRequest{Add: []string{"host:host-gateway"}}, `error: add-host "host:host-gateway": this network has no gateway to the host`},
		{HostsRequest{Add: []string{"db"}}, `error: add-host "db": not of the form NAME:ADDRESS`},
		{HostsRequest{Add: []string{":10.0.0.9"}}, `error: add-host ":10.0.0.9": not of the form NAME:ADDRESS`},
		{HostsRequest{Add: []string{"a b:10.0.0.9"}}, `error: add-host "a b:10.0.0.9": not of the form NAME:ADDRESS`},
		{HostsRequest{Add: []string{"db:somewhere"}}, `error: add-host "db:somewhere": "somewhere" is not an IP address`},
	} {
		got, err := Hosts(c.request)
		if err != nil {
			got = "error: " + err.Error()
		} else if !strings.HasPrefix(got, hostsHead) {
			t.Errorf("%+v: no head:\n%s", c.request, got)
		}
		if diff := cmp.Diff(c.want, strings.TrimPrefix(got, hostsHead)); diff != "" {
			t.Errorf("%+v:\n%s", c.request, diff)
		}
	}
	if got := Hostname("web"); got != "web\n" {
		t.Errorf("Hostname(web) = %q", got)
	}
}
