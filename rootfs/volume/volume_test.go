package volume

import (
	"strings"
	"testing"
)

func TestValidateName(t *testing.T) {
	for name, good := range map[string]bool{
		"data": true, "a1": true, "A.b-c_d": true, strings.Repeat("f", 64): true, strings.Repeat("f", 255): true,
		"": false, "a": false, ".hidden": false, "-x": false, "_x": false, "a/b": false, "..": false, "a b": false, "a\n": false, "ü1": false,
		"a:b": false, "/abs": false, strings.Repeat("f", 256): false,
	} {
		if err := ValidateName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		options string // KEY=VALUE separated by blanks
		kind    kind
		mount   string // options of every mount
		wrong   string // part of the error
	}{
		{"", plain, "", ""},
		{"type=tmpfs", tmpfs, "", ""},
		{"type=tmpfs device=tmpfs o=size=10m,mode=1777,noexec,uid=5", tmpfs, "noexec", ""},
		{"type=tmpfs o=size", tmpfs, "", "not of a mount or of tmpfs"},
		{"type=tmpfs o=source=/dev/sda", tmpfs, "", "source=/dev/sda"},
		{"type=none o=bind device=/srv", bind, "", ""},
		{"o=bind,ro device=/srv", bind, "ro", ""},
		{"type=bind device=/srv o=rbind,nosuid", bind, "nosuid", ""},
		{"type=none o=bind device=srv", bind, "", "no absolute path"},
		{"type=none o=bind", bind, "", "no absolute path"},
		{"type=none o=bind,size=1m device=/srv", bind, "", `"size=1m" is no option of a bind mount`},
		{"type=none device=/srv", unknown, "", "type=none"},
		{"device=/srv", unknown, "", "type="},
		{"type=nfs o=addr=127.0.0.1 device=:/x", unknown, "", "type=nfs"},
		{"type=ext4 device=/dev/sda1", unknown, "", "type=ext4"},
		{"size=10G", unknown, "", `volume option "size"`},
	} {
		v := Volume{Name: "data", Driver: Local}
		for word := range strings.FieldsSeq(c.options) {
			key, value, _ := strings.Cut(word, "=")
			if v.Options == nil {
				v.Options = map[string]string{}
			}
			v.Options[key] = value
		}
		err := v.validate()
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %v, want %q", c.options, err, c.wrong)
		}
		if err != nil {
			continue
		}
		if got := strings.Join(v.MountOptions(), ","); v.kind() != c.kind || got != c.mount || v.InMemory() != (c.kind == tmpfs) {
			t.Errorf("%s: kind %d, options %q", c.options, v.kind(), got)
		}
	}
	if err := (&Volume{Name: "data", Driver: "nfs"}).validate(); err == nil || !strings.Contains(err.Error(), `"nfs"`) {
		t.Errorf("driver: %v", err)
	}
}

func TestSubpath(t *testing.T) {
	for path, good := range map[string]bool{"a": true, "a/b": true, "a/../b": true, ".": true, "": false, "/a": false, "..": false, "a/../..": false, "../a": false} {
		if err := ValidateSubpath(path); (err == nil) != good {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// Half a file is an error or a volume that is whole, never both, and never one
// whose name leads elsewhere.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"name":"data","driver":"local","created":"2026-01-02T03:04:05Z","options":{"type":"tmpfs","o":"size=1m"}}`))
	f.Add([]byte(`{"name":"../x","driver":"local"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parse(b)
		if err == nil && (ValidateName(v.Name) != nil || v.kind() == unknown) {
			t.Errorf("%s: %+v", b, v)
		}
	})
}
