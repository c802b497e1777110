package runtime

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWriteWhole: a file is the old one until the new one is whole, and nothing
// else is left in its directory.
func TestWriteWhole(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/there", []byte("old"), 0o644))
	must(t, os.Symlink("there", dir+"/link"))
	full := errors.New("the disk is full")
	write := func(text string, fail error) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return errors.Join(err, fail)
		}
	}
	for _, c := range []struct {
		name  string
		write func(io.Writer) error
		err   error
		want  []string
	}{
		{"there", write("half", full), full, []string{"link->there", "there=old"}},
		{"new", write("half", full), full, []string{"link->there", "there=old"}},
		{"there", write("whole", nil), nil, []string{"link->there", "there=whole"}},
		{"new", write("new", nil), nil, []string{"link->there", "new=new", "there=whole"}},
	} {
		if err := WriteWhole(dir+"/"+c.name, c.write); !errors.Is(err, c.err) {
			t.Errorf("%s: error %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, listCopied(t, dir)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
	for _, name := range []string{dir, dir + "/no/such", dir + "/link"} {
		if err := WriteWhole(name, write("x", nil)); err == nil {
			t.Errorf("%s is written", name)
		}
	}
	must(t, WriteWhole("/dev/null", write("x", nil)))
	st, err := os.Stat("/dev/null")
	if err != nil || st.Mode().IsRegular() {
		t.Fatal("/dev/null is gone")
	}
}
