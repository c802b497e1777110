package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// module is a small module whose tests end in every way there is.
var module = map[string]string{
	"go.mod":             "module example.org/m\n\ngo 1.26\n",
	"good/good_test.go":  "package good\nimport \"testing\"\nfunc TestGood(t *testing.T) { t.Log(\"quiet\") }\n",
	"none/none.go":       "package none\n",
	"broken/broken.go":   "package broken\nvar x int = \"\"\n",
	"broken/b_test.go":   "package broken\nimport \"testing\"\nfunc TestB(t *testing.T) {}\n",
	"bad/bad_test.go":    "package bad\nimport \"testing\"\nfunc TestBad(t *testing.T) { t.Run(\"sub\", func(t *testing.T) { t.Error(\"loud\") }) }\nfunc TestFine(t *testing.T) { t.Log(\"quiet\") }\n",
	"panics/p_test.go":   "package panics\nimport (\"testing\"; \"os\")\nfunc TestPanics(t *testing.T) { os.Stderr.WriteString(\"last words\\n\"); os.Exit(3) }\n",
	"skips/skip_test.go": "package skips\nimport \"testing\"\nfunc TestA(t *testing.T) { t.Skip(\"needs a thing\") }\nfunc TestB(t *testing.T) { t.Run(\"sub\", func(t *testing.T) { t.Skip(\"needs a thing\") }) }\n",
}

func writeModule(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range module {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// What go test prints without -json is what the report has to print, but for
// the lines on skips. The lines of a failing subtest come in another order and
// without indentation, as with -v.
func TestReportPrintsWhatGoTestPrints(t *testing.T) {
	writeModule(t)
	want, err := exec.Command("go", "test", "-p=1", "./...").CombinedOutput()
	if err == nil {
		t.Fatal("go test passed")
	}
	var got bytes.Buffer
	if err := run(&got, "", []string{"go", "test", "-p=1", "-json", "./..."}); err == nil {
		t.Error("no error for tests that fail")
	}
	skips := regexp.MustCompile(`(?m)^skip\t.*\n`)
	if found := skips.FindAllString(got.String(), -1); len(found) != 1 {
		t.Errorf("lines on skips: %q", found)
	}
	times := regexp.MustCompile(`\d+\.\d+s|\(cached\)`)
	clean := func(s string) []string {
		var lines []string
		for line := range strings.Lines(times.ReplaceAllString(s, "TIME")) {
			lines = append(lines, strings.TrimSpace(line))
		}
		slices.Sort(lines)
		return lines
	}
	if diff := cmp.Diff(clean(string(want)), clean(skips.ReplaceAllString(got.String(), ""))); diff != "" {
		t.Errorf("go test (-), report (+):\n%s", diff)
	}
}

func TestAllowedSkips(t *testing.T) {
	writeModule(t)
	for _, c := range []struct{ name, allowed, want string }{
		{"all", "skips TestA needs a thing\nskips TestB/.* needs # why\n", ""},
		{"another reason", "skips TestA|TestB/sub needs a thingummy\n", "2 skipped"},
		{"another folder", "good TestA|TestB/sub needs\n", "2 skipped"},
		{"part of a name", "skips Test.|sub needs\n", "1 skipped"},
		{"none", "# empty\n", "2 skipped"},
		{"no reason", "skips TestA\n", "allowed:1: want PACKAGE TEST REASON"},
		{"bad pattern", "\nskips TestA( needs\n", "allowed:2: error parsing regexp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile("allowed", []byte(c.allowed), 0o644); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			err := run(&out, "allowed", []string{"go", "test", "-json", "./skips", "./good"})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q; output:\n%s", err, c.want, out.String())
			}
		})
	}
}
