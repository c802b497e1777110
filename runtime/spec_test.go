package runtime

import (
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func rlimit(name string) specs.POSIXRlimit { return specs.POSIXRlimit{Type: name} }

func TestParseMountOptions(t *testing.T) {
	for _, c := range []struct {
		options    string
		set, clear uint64
		data       string
	}{
		{"", 0, 0, ""},
		{"ro,nosuid", unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID, 0, ""},
		{"ro,rw", 0, unix.MOUNT_ATTR_RDONLY, ""},
		{"rw,ro", unix.MOUNT_ATTR_RDONLY, 0, ""},
		{"size=1m,mode=755,noexec", unix.MOUNT_ATTR_NOEXEC, 0, "size=1m,mode=755"},
		{"strictatime,noatime", unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR__ATIME &^ unix.MOUNT_ATTR_NOATIME, ""},
	} {
		var list []string
		if c.options != "" {
			list = strings.Split(c.options, ",")
		}
		m := parseMountOptions(list)
		if m.set != c.set || m.clear != c.clear || strings.Join(m.data, ",") != c.data {
			t.Errorf("%q: set %#x, clear %#x, data %q", c.options, m.set, m.clear, m.data)
		}
	}
}

// Whatever the options: no attribute is both set and cleared, and what is not an
// attribute reaches the file system in the order in which it was given.
func FuzzParseMountOptions(f *testing.F) {
	f.Add("rbind,ro,rprivate,size=1m")
	f.Add("noatime,relatime,strictatime,,=,x")
	f.Fuzz(func(t *testing.T, text string) {
		list := strings.Split(text, ",")
		m := parseMountOptions(list)
		if m.set&m.clear != 0 {
			t.Errorf("%q: %#x is both set and cleared", text, m.set&m.clear)
		}
		i := 0
		for _, o := range list {
			if _, known := optionTable[o]; known {
				continue
			}
			if i >= len(m.data) || m.data[i] != o {
				t.Fatalf("%q: data %q", text, m.data)
			}
			i++
		}
		if i != len(m.data) {
			t.Errorf("%q: data %q", text, m.data)
		}
	})
}

func FuzzParseStat(f *testing.F) {
	f.Add("1 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 77 20")
	f.Add("")
	f.Add("1 (a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99999999999999999999 20")
	f.Fuzz(func(t *testing.T, text string) {
		ticks, state, err := parseStat(text)
		if err != nil && ticks != 0 {
			t.Errorf("%q: both %d and %v", text, ticks, err)
		}
		if err == nil && state == 0 {
			t.Errorf("%q: no state", text)
		}
	})
}

func TestParseStat(t *testing.T) {
	ticks, state, err := parseStat("42 (a) (b ) R 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 123456 0 0")
	if err != nil || ticks != 123456 || state != 'R' {
		t.Errorf("%d %c %v", ticks, state, err)
	}
}

func TestValidateSysctl(t *testing.T) {
	for key, want := range map[string]bool{
		"net.ipv4.ip_forward": true, "kernel.shmmax": true, "fs.mqueue.msg_max": true,
		"kernel.panic": false, "vm.swappiness": false, "net.ipv4/../../kernel/panic": false, "": false,
	} {
		if err := ValidateSysctl(key, "bridge"); (err == nil) != want {
			t.Errorf("%q: %v", key, err)
		}
	}
	if ValidateSysctl("net.ipv4.ip_forward", "host") == nil {
		t.Error("a sysctl of the host's network was allowed")
	}
}

func TestSysctlPath(t *testing.T) {
	for key, want := range map[string]string{
		"net.ipv4.ip_forward":             "net/ipv4/ip_forward",
		"net/ipv4/conf/eth0.1/forwarding": "net/ipv4/conf/eth0.1/forwarding",
		"net.ipv4.conf.eth0/1.forwarding": "net/ipv4/conf/eth0.1/forwarding",
	} {
		if got := sysctlPath(key); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}

func TestCandidates(t *testing.T) {
	for _, c := range []struct{ command, path, want string }{
		{"/bin/sh", "/x", "/bin/sh"},
		{"./run", "/x", "./run"},
		{"sh", "/usr/bin:/bin", "/usr/bin/sh /bin/sh"},
		{"sh", ":/bin", "/home/sh /bin/sh"},
	} {
		if got := strings.Join(candidates(c.command, []string{"PATH=" + c.path}, "/home"), " "); got != c.want {
			t.Errorf("%s in %s: %s, want %s", c.command, c.path, got, c.want)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]unix.Signal{"": unix.SIGTERM, "KILL": unix.SIGKILL, "sigusr1": unix.SIGUSR1, "9": unix.SIGKILL, "15": unix.SIGTERM, "SIGRTMIN+3": 37, "rtmax-1": 63, "RTMIN": 34} {
		if got, err := ParseSignal(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"0", "-1", "65", "NONE", "SIG", "RTMIN-1", "RTMAX+1", "RTMIN+x"} {
		if got, err := ParseSignal(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestParseIDMappings(t *testing.T) {
	m, err := ParseIDMappings([]string{"0:100000:65536", "65536:300000:10"})
	if err != nil || len(m) != 2 || hostID(m, 5) != 100005 || hostID(m, 65540) != 300004 {
		t.Errorf("%v, %v", m, err)
	}
	for _, text := range []string{"", "0:1", "0:1:0", "a:1:1", "0:4294967295:1", "0:1:2:3"} {
		if _, err := ParseIDMappings([]string{text}); err == nil {
			t.Errorf("%q was allowed", text)
		}
	}
}
