package capability

import (
	"errors"
	"math/bits"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// constants are the kernel's own numbers, by way of golang.org/x/sys.
var constants = map[string]int{
	"CAP_AUDIT_CONTROL": unix.CAP_AUDIT_CONTROL, "CAP_AUDIT_READ": unix.CAP_AUDIT_READ,
	"CAP_AUDIT_WRITE": unix.CAP_AUDIT_WRITE, "CAP_BLOCK_SUSPEND": unix.CAP_BLOCK_SUSPEND,
	"CAP_BPF": unix.CAP_BPF, "CAP_CHECKPOINT_RESTORE": unix.CAP_CHECKPOINT_RESTORE,
	"CAP_CHOWN": unix.CAP_CHOWN, "CAP_DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE,
	"CAP_DAC_READ_SEARCH": unix.CAP_DAC_READ_SEARCH, "CAP_FOWNER": unix.CAP_FOWNER,
	"CAP_FSETID": unix.CAP_FSETID, "CAP_IPC_LOCK": unix.CAP_IPC_LOCK,
	"CAP_IPC_OWNER": unix.CAP_IPC_OWNER, "CAP_KILL": unix.CAP_KILL, "CAP_LEASE": unix.CAP_LEASE,
	"CAP_LINUX_IMMUTABLE": unix.CAP_LINUX_IMMUTABLE, "CAP_MAC_ADMIN": unix.CAP_MAC_ADMIN,
	"CAP_MAC_OVERRIDE": unix.CAP_MAC_OVERRIDE, "CAP_MKNOD": unix.CAP_MKNOD,
	"CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE,
	"CAP_NET_BROADCAST": unix.CAP_NET_BROADCAST, "CAP_NET_RAW": unix.CAP_NET_RAW,
	"CAP_PERFMON": unix.CAP_PERFMON, "CAP_SETFCAP": unix.CAP_SETFCAP,
	"CAP_SETGID": unix.CAP_SETGID, "CAP_SETPCAP": unix.CAP_SETPCAP, "CAP_SETUID": unix.CAP_SETUID,
	"CAP_SYSLOG": unix.CAP_SYSLOG, "CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN,
	"CAP_SYS_BOOT": unix.CAP_SYS_BOOT, "CAP_SYS_CHROOT": unix.CAP_SYS_CHROOT,
	"CAP_SYS_MODULE": unix.CAP_SYS_MODULE, "CAP_SYS_NICE": unix.CAP_SYS_NICE,
	"CAP_SYS_PACCT": unix.CAP_SYS_PACCT, "CAP_SYS_PTRACE": unix.CAP_SYS_PTRACE,
	"CAP_SYS_RAWIO": unix.CAP_SYS_RAWIO, "CAP_SYS_RESOURCE": unix.CAP_SYS_RESOURCE,
	"CAP_SYS_TIME": unix.CAP_SYS_TIME, "CAP_SYS_TTY_CONFIG": unix.CAP_SYS_TTY_CONFIG,
	"CAP_WAKE_ALARM": unix.CAP_WAKE_ALARM,
}

func TestNumbersAreTheKernels(t *testing.T) {
	if len(constants) != len(names) || bits.OnesCount64(uint64(Named)) != len(names) || len(names) != unix.CAP_LAST_CAP+1 {
		t.Fatalf("%d names, %d constants, CAP_LAST_CAP %d", len(names), len(constants), unix.CAP_LAST_CAP)
	}
	for name, bit := range constants {
		got, err := Parse(name)
		if err != nil || got != 1<<bit {
			t.Errorf("Parse(%s) = %#x, %v; want bit %d", name, uint64(got), err, bit)
		}
		if back := got.Names(); len(back) != 1 || back[0] != name {
			t.Errorf("Names of %s are %v", name, back)
		}
	}
}

// The names of Docker's default set, from moby daemon/pkg/oci/caps/defaults.go.
func TestDefault(t *testing.T) {
	want, err := ParseNames(strings.Fields(`CAP_CHOWN CAP_DAC_OVERRIDE CAP_FSETID CAP_FOWNER CAP_MKNOD CAP_NET_RAW CAP_SETGID
		CAP_SETUID CAP_SETFCAP CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_SYS_CHROOT CAP_KILL CAP_AUDIT_WRITE`))
	if err != nil || Default != want {
		t.Errorf("Default is %v, want %v (%v)", Default, want, err)
	}
}

func TestParseForms(t *testing.T) {
	for _, name := range []string{"NET_ADMIN", "net_admin", "CAP_NET_ADMIN", "cap_net_admin", "Cap_Net_Admin"} {
		if got, err := Parse(name); err != nil || got != 1<<unix.CAP_NET_ADMIN {
			t.Errorf("Parse(%q) = %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"ALL", "all"} {
		if got, err := Parse(name); err != nil || got != Named {
			t.Errorf("Parse(%q) = %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "CAP_", "CAP_CAP_CHOWN", "NET-ADMIN", "CHOWN ", "CAP_ALL", "41"} {
		var unknown *UnknownError
		if got, err := Parse(name); got != 0 || !errors.As(err, &unknown) || unknown.Name != name {
			t.Errorf("Parse(%q) = %v, %v; want an UnknownError", name, got, err)
		}
	}
}

func TestString(t *testing.T) {
	for _, tt := range []struct {
		set  Set
		want string
	}{{0, "none"}, {1, "CAP_CHOWN"}, {1<<12 | 1<<40, "CAP_NET_ADMIN,CAP_CHECKPOINT_RESTORE"}, {1 << 63, "CAP_63"}} {
		if got := tt.set.String(); got != tt.want {
			t.Errorf("%#x prints as %q, want %q", uint64(tt.set), got, tt.want)
		}
	}
}

func set(t *testing.T, list string) Set {
	t.Helper()
	s, err := ParseNames(strings.Fields(list))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestApply(t *testing.T) {
	host := Host{Known: upTo(37), Held: upTo(37) &^ (1 << unix.CAP_SYS_RESOURCE)} // before 5.8, and without SYS_RESOURCE
	for _, tt := range []struct {
		name, base, add, drop string
		want                  Set
		err                   string
	}{
		{name: "nothing asked", base: "CHOWN KILL", want: set(t, "CHOWN KILL")},
		{name: "add", base: "CHOWN", add: "net_admin", want: set(t, "CHOWN NET_ADMIN")},
		{name: "drop", base: "CHOWN KILL", drop: "CAP_KILL", want: set(t, "CHOWN")},
		{name: "drop what is not there", base: "CHOWN", drop: "KILL", want: set(t, "CHOWN")},
		{name: "in both: added", base: "CHOWN KILL", add: "KILL", drop: "KILL", want: set(t, "CHOWN KILL")},
		{name: "add ALL", base: "CHOWN", add: "ALL", want: host.Held},
		{name: "add ALL but one", base: "CHOWN", add: "all", drop: "SYS_ADMIN", want: host.Held &^ set(t, "SYS_ADMIN")},
		{name: "add ALL and a name: the drop wins", add: "ALL KILL", drop: "KILL", want: host.Held &^ set(t, "KILL")},
		{name: "drop ALL", base: "CHOWN", drop: "ALL", want: 0},
		{name: "drop ALL, add one", base: "CHOWN", add: "NET_RAW", drop: "ALL CHOWN", want: set(t, "NET_RAW")},
		{name: "ALL in both", base: "CHOWN", add: "ALL", drop: "ALL", want: host.Held},
		{name: "base loses what is not held", base: "CHOWN SYS_RESOURCE BPF", want: set(t, "CHOWN")},
		{name: "drop what the kernel lacks", base: "CHOWN", drop: "BPF", want: set(t, "CHOWN")},
		{name: "unknown in add", add: "FLY", err: `unknown capability "FLY"`},
		{name: "unknown in drop", drop: "cap_fly", err: `unknown capability "cap_fly"`},
		{name: "not in the kernel", add: "BPF", err: "capability CAP_BPF: this kernel does not have it"},
		{name: "not held", add: "sys_resource", err: "capability CAP_SYS_RESOURCE: minictr was started without it and cannot give it"},
		{name: "not held, with drop ALL", add: "SYS_RESOURCE", drop: "ALL", err: "capability CAP_SYS_RESOURCE: minictr was started without it and cannot give it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := host.Apply(set(t, tt.base), strings.Fields(tt.add), strings.Fields(tt.drop))
			if text := ""; err != nil {
				text = err.Error()
				if text != tt.err {
					t.Fatalf("error %q, want %q", text, tt.err)
				}
			} else if tt.err != "" {
				t.Fatalf("no error, want %q", tt.err)
			}
			if diff := cmp.Diff(tt.want.Names(), got.Names()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The kernel prints the same sets in /proc/self/status.
func TestResolveAgreesWithProc(t *testing.T) {
	host, err := Resolve()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	var permitted, bounding Set
	for line := range strings.Lines(string(text)) {
		if hex, ok := strings.CutPrefix(line, "CapPrm:\t"); ok {
			permitted = parseHex(t, hex)
		}
		if hex, ok := strings.CutPrefix(line, "CapBnd:\t"); ok {
			bounding = parseHex(t, hex)
		}
	}
	if want := permitted & bounding & Named; host.Held != want {
		t.Errorf("held %v, want %v", host.Held, want)
	}
	if host.Known&^Named != 0 || !host.Known.Has(host.Held) || !host.Known.Has(1) {
		t.Errorf("known %v, held %v", host.Known, host.Held)
	}
}

func parseHex(t *testing.T, hex string) (s Set) {
	t.Helper()
	for _, digit := range strings.TrimSpace(hex) {
		s = s<<4 | Set(strings.IndexRune("0123456789abcdef", digit))
	}
	return s
}

func TestParseLast(t *testing.T) {
	for text, want := range map[string]Set{"40\n": Named, "37": upTo(37), "0\n": 1, "63": ^Set(0)} {
		last, err := parseLast([]byte(text))
		if err != nil || upTo(last) != want {
			t.Errorf("%q: %d, %v", text, last, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "64", "40 41"} {
		if last, err := parseLast([]byte(text)); err == nil {
			t.Errorf("%q is taken as %d", text, last)
		}
	}
}
