package kernel

import (
	"os"
	"os/exec"
	"testing"
)

// Programs returns the directory with minictr and the programs that it runs:
// $MINICTR_BIN where that is set, as in a VM that has no Go, else one into which
// it builds them. That takes a second, so call it once for many tests.
func Programs(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("MINICTR_BIN"); dir != "" {
		return dir
	}
	RequireCommand(t, "go")
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir+"/", "github.com/minictr/minictr/cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // the race detector of a test needs cgo, minictr does not
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build minictr: %v\n%s", err, out)
	}
	return dir
}
