package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

// TestManyImages: listing 200 images costs less than 50 ms of processor time.
func TestManyImages(t *testing.T) {
	kernel.RequireRoot(t)
	programs := kernel.Programs(t)
	root := t.TempDir()
	load := exec.Command(programs+"/minictr", "--root", root, "import", "-", "one")
	load.Stdin = strings.NewReader(strings.Repeat("\x00", 1024)) // the end of a tar
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i := range 199 {
		copyImage(t, root+"/images", i)
	}
	c := exec.Command(programs+"/minictr", "--root", root, "images")
	out, err := c.Output()
	if lines := strings.Count(string(out), "\n"); err != nil || lines != 201 {
		t.Fatalf("%d lines, %v", lines, err)
	}
	used := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	t.Logf("%v", used)
	if used > 50*time.Millisecond {
		t.Errorf("minictr images takes %v for 200 images", used)
	}
}

// copyImage gives the image of a store another id and name.
func copyImage(t *testing.T, images string, i int) {
	t.Helper()
	id := fmt.Sprintf("%064x", i)
	for _, kind := range []string{"ids", "refs"} {
		files, err := filepath.Glob(images + "/" + kind + "/*.json")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", kind, files, err)
		}
		raw, err := os.ReadFile(files[len(files)-1])
		if err != nil {
			t.Fatal(err)
		}
		image := map[string]any{}
		if err := json.Unmarshal(raw, &image); err != nil {
			t.Fatal(err)
		}
		image["id"] = "sha256:" + id
		if kind == "refs" {
			image["reference"] = fmt.Sprintf("reg.example/some/image%d:v1", i)
		}
		if raw, err = json.Marshal(image); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(images+"/"+kind+"/"+id+".json", raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
