package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Programs returns the directory with minictr and the programs that it runs:
// $MINICTR_BIN where that is set, as in a VM that has no Go, else one into which
// it builds them. That takes a second, so call it once for many tests. Where
// "make" has not packed the image that minictr-image carries, it does that, too.
func Programs(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("MINICTR_BIN"); dir != "" {
		return dir
	}
	RequireCommand(t, "go")
	packBase(t)
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir+"/", "github.com/minictr/minictr/cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // the race detector of a test needs cgo, minictr does not
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build minictr: %v\n%s", err, out)
	}
	return dir
}

// packBase packs minictr/base for minictr-image to embed, unless it is there.
func packBase(t testing.TB) {
	t.Helper()
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatalf("find the module: %v", err)
	}
	dir := filepath.Join("cmd/minictr-image/base", runtime.GOARCH)
	pack := exec.Command("go", "run", "./rootfs/gen/base", runtime.GOARCH, dir)
	pack.Dir = strings.TrimSpace(string(root))
	if _, err := os.Stat(filepath.Join(pack.Dir, dir, "layer.json")); err == nil {
		return
	}
	pack.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("pack minictr/base: %v\n%s", err, out)
	}
}
