package network

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHostsFile(t *testing.T) {
	a, gateway := netip.MustParseAddr("172.17.0.2"), netip.MustParseAddr("172.17.0.1")
	for _, c := range []struct {
		request HostsRequest
		want    string // behind the head; with "error: " the error
	}{
		{HostsRequest{}, ""},
		{HostsRequest{Hostname: "web", Address: a}, "172.17.0.2\tweb\n"},
		{HostsRequest{Hostname: "web.example.org", Address: a}, "172.17.0.2\tweb.example.org web\n"},
		{HostsRequest{Add: []string{"db:10.0.0.9", "six=[fd00::1]", "seven:fd00::2", "host:host-gateway"}, Gateway: gateway}, "10.0.0.9\tdb\nfd00::1\tsix\nfd00::2\tseven\n172.17.0.1\thost\n"},
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
