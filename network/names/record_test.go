package names

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/minictr/minictr/runtime/step"
)

// full has every field.
func full() Record {
	return Record{
		Container: strings.Repeat("0123456789abcdef", 4),
		Name:      "Web_1.x",
		Aliases:   []string{"www", "Store", "web_1.X"},
		Address:   netip.MustParseAddr("172.17.0.2"),
		Address6:  netip.MustParseAddr("fd00::2"),
		Gateway:   netip.MustParsePrefix("172.17.0.1/16"),
		Gateway6:  netip.MustParsePrefix("fd00::1/64"),
		Internal:  true,
		Servers:   []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1%eth0")},
	}
}

const fullText = `container 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
name Web_1.x
alias www
alias Store
alias web_1.X
address 172.17.0.2
address6 fd00::2
gateway 172.17.0.1/16
gateway6 fd00::1/64
internal yes
server 192.0.2.1
server fe80::1%eth0
`

func TestRecordText(t *testing.T) {
	v := reflect.ValueOf(full())
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("the test lacks %s", v.Type().Field(i).Name)
		}
	}
	for want, r := range map[string]Record{fullText: full(), "container x\nname y\n": {Container: "x", Name: "y"}} {
		got, err := r.text()
		if err != nil || got != want {
			t.Errorf("%q %v, want %q", got, err, want)
		}
		if back, err := parse(got); err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("read back: %+v %v", back, err)
		}
	}
	for _, bad := range []Record{{Container: "x", Name: "a\nalias b"}, {Container: "x", Name: "a b"}, {Container: "x"}, {Container: "x", Name: "y", Aliases: []string{""}}} {
		if text, err := bad.text(); err == nil {
			t.Errorf("%+v: %q", bad, text)
		}
	}
}

// What parses can be written and is the same then.
func FuzzParseRecord(f *testing.F) {
	f.Add(fullText)
	f.Add("container x\nname y\nlater word\naddress\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parse(text)
		if err != nil {
			if !reflect.DeepEqual(r, Record{}) {
				t.Fatalf("%+v beside %v", r, err)
			}
			return
		}
		_ = r.Names()
		again, err := r.text()
		if err != nil {
			return // a value that we do not write
		}
		if back, err := parse(again); err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%+v, then %+v %v", r, back, err)
		}
	})
}

func TestRecordNames(t *testing.T) {
	if got := strings.Join(full().Names(), " "); got != "0123456789ab store web_1.x www" {
		t.Error(got)
	}
	if got := strings.Join(Record{Container: "x", Name: "y", Aliases: []string{"z."}}.Names(), " "); got != "x y z" {
		t.Error(got)
	}
}

func TestAddName(t *testing.T) {
	runroot := filepath.Join(t.TempDir(), "run")
	s := AddName{Runroot: runroot, Network: "blue", Record: full()}
	if got, want := s.Words(), "let the containers of network blue find 172.17.0.2 and fd00::2 by 0123456789ab, store, web_1.x, www"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := s.String(), "# in /etc/hosts of the others: 172.17.0.2 0123456789ab store web_1.x www\n# in /etc/hosts of the others: fd00::2 0123456789ab store web_1.x www"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := s.Check(); err == nil {
		t.Error("there before it was applied")
	}
	for range 2 { // a second one is the first
		if err := s.Apply(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	other := s
	other.Record.Aliases = nil
	if err := other.Check(); err == nil {
		t.Error("another record is not told from this")
	}
	for range 2 { // one that is gone is no error
		if err := s.Undo(); err != nil {
			t.Error(err)
		}
	}
	if entries, err := os.ReadDir(Root(runroot)); err != nil || len(entries) > 0 {
		t.Errorf("left: %v %v", entries, err)
	}
}

// What is given for a name never leads out of the directory.
func TestNamesThatAreNoFiles(t *testing.T) {
	runroot := t.TempDir()
	for _, name := range []string{"", ".", "..", "../x", "a/b", ".x", "a\x00", strings.Repeat("x", 256)} {
		r := full()
		errs := map[string]error{
			"network":   AddName{runroot, name, r}.Apply(),
			"start":     Start(runroot, name, nil, "br0"),
			"remove":    Remove(runroot, "blue", name),
			"container": RemoveContainer(runroot, name),
		}
		_, errs["list"] = List(runroot, name)
		_, errs["alive"] = Alive(runroot, name)
		r.Container = name
		errs["record"] = AddName{runroot, "blue", r}.Apply()
		for what, err := range errs {
			if err == nil {
				t.Errorf("%s %q was taken", what, name)
			}
		}
	}
	if entries, err := os.ReadDir(runroot); err != nil || len(entries) > 0 {
		t.Errorf("left: %v %v", entries, err)
	}
}

func TestListAndRemoveContainer(t *testing.T) {
	runroot := t.TempDir()
	if list, err := List(runroot, "blue"); err != nil || list != nil {
		t.Errorf("of nothing: %v %v", list, err)
	}
	if err := RemoveContainer(runroot, "a"); err != nil {
		t.Error(err)
	}
	var steps []step.Step
	for _, row := range [][3]string{{"blue", "b", "web"}, {"blue", "a", "db"}, {"red", "a", "db"}} {
		steps = append(steps, AddName{runroot, row[0], Record{Container: row[1], Name: row[2]}})
	}
	if err := step.Run(steps, nil); err != nil {
		t.Fatal(err)
	}
	// What a starter has left that was killed while it wrote, and a file of somebody.
	for _, file := range []string{filepath.Join(Root(runroot), ".red.a"), filepath.Join(Directory(runroot, "blue"), "junk")} {
		if err := os.WriteFile(file, []byte("address x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := List(runroot, "blue")
	if err == nil || !strings.Contains(err.Error(), "junk: address: ") || len(list) != 2 || list[0].Name != "db" || list[1].Name != "web" {
		t.Errorf("%+v %v", list, err)
	}
	if err := RemoveContainer(runroot, "a"); err != nil {
		t.Error(err)
	}
	var left []string
	for _, pattern := range []string{"*", "*/*"} {
		found, err := filepath.Glob(filepath.Join(Root(runroot), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range found {
			left = append(left, strings.TrimPrefix(file, Root(runroot)+"/"))
		}
	}
	if got := strings.Join(left, " "); got != "blue blue/b blue/junk" {
		t.Errorf("left: %s", got)
	}
}

func TestInodeOn(t *testing.T) {
	const (
		udp  = "  812: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0"
		all  = "  812: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 0"
		tcp  = "    1: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 100 0 0 10 0"
		conn = "    1: 0100007F:0035 0100007F:D903 01 00000000:00000000 00:00000000 00000000     0        0 4714 1 0000000000000000 100 0 0 10 0"
		six  = "    1: 000000FD000000000000000001000000:0035 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4715 1 0"
	)
	for _, row := range []struct{ line, address, want string }{
		{udp, "127.0.0.1", "4711"},
		{udp, "127.0.0.2", ""},
		{all, "127.0.0.2", "4712"},
		{tcp, "127.0.0.1", "4713"},
		{conn, "127.0.0.1", ""},
		{six, "fd00::1", "4715"},
		{six, "fd00::2", ""},
		{strings.Replace(udp, ":0035", ":0036", 1), "127.0.0.1", ""},
		{"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", "127.0.0.1", ""},
		{strings.Replace(udp, "0100007F", "x", 1), "127.0.0.1", ""},
		{"", "127.0.0.1", ""},
	} {
		if got := inodeOn(row.line, netip.MustParseAddr(row.address)); got != row.want {
			t.Errorf("%s in %q: %q, want %q", row.address, row.line, got, row.want)
		}
	}
}

func TestPortInUseError(t *testing.T) {
	e := &PortInUseError{Address: netip.MustParseAddr("fd00::1")}
	if e.Error() != "[fd00::1]:53 is in use" {
		t.Error(e)
	}
	e.Holder, e.PID = "dnsmasq", "812"
	if e.Error() != "[fd00::1]:53 is in use by dnsmasq (pid 812)" {
		t.Error(e)
	}
}
