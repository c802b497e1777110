package test

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/minictr/minictr/test/kernel"
)

// TestRunPulls: run gets an image that is not here, or whatever is there, from a
// registry, and the container starts. It once hung in every store that had an
// image: run held the lock for which its own pull waited.
func TestRunPulls(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.Snapshot(t)
	quiet := log.New(io.Discard, "", 0)
	server := httptest.NewUnstartedServer(registry.New(registry.Logger(quiet)))
	server.Config.ErrorLog = quiet // clients try TLS first
	server.Start()
	defer server.Close()
	programs := kernel.Programs(t)
	root, runroot := importImage(t, programs), t.TempDir()
	name := strings.TrimPrefix(server.URL, "http://") + "/alpine:1"
	minictr := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		c := exec.CommandContext(ctx, programs+"/minictr", append([]string{"--root", root, "--runroot", runroot}, args...)...)
		c.WaitDelay = time.Second
		var stderr strings.Builder
		c.Stderr = &stderr
		out, err := c.Output()
		if err != nil {
			t.Fatalf("minictr %q: %v: %s", args, err, stderr.String())
		}
		return string(out)
	}
	minictr("tag", "alpine", name)
	minictr("push", "-q", name)
	minictr("rmi", name)
	for _, pull := range []string{"missing", "always", "never"} {
		if out := minictr("run", "--rm", "--network", "none", "--pull", pull, name, "echo", "hello"); out != "hello\n" {
			t.Errorf("--pull %s: %q", pull, out)
		}
	}
}
