package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// TestPush: the manifest comes last and as it is in the store, a layer that
// occurs twice goes once, and what is there is not sent again.
func TestPush(t *testing.T) {
	requireRoot(t)
	s := startServer(t)
	twice := makeLayer(t, gzipped, types.OCILayer, "twice")
	img := makeImage(t, "linux/amd64", twice, makeLayer(t, same, types.OCIUncompressedLayer, "plain"), twice)
	root := t.TempDir()
	to := s.host + "/to/there:2"
	loadAs(t, root, img, to)
	var mu sync.Mutex
	var asked []string
	s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Method+" "+strings.Split(r.URL.Path, ":")[0])
		return false
	})
	stdout, stderr, err := run(t, root, "push", to)
	digest, _ := img.Digest()
	if err != nil || stdout != to+"\n" || !strings.HasSuffix(stderr, "\nDigest: "+digest.String()+"\n") {
		t.Fatalf("%v, %q, %s", err, stdout, stderr)
	}
	if last := asked[len(asked)-1]; last != "PUT /v2/to/there/manifests/2" {
		t.Errorf("the last request is %s", last)
	}
	if n := strings.Count(strings.Join(asked, " "), "POST /v2/to/there/blobs/uploads/"); n != 3 {
		t.Errorf("%d uploads, want two layers and a configuration", n)
	}
	asked = nil
	if _, stderr, err = run(t, root, "push", to); err != nil || strings.Count(stderr, ": Already exists\n") != 2 || strings.Contains(strings.Join(asked, " "), "POST") {
		t.Errorf("again: %v, %s, %q", err, stderr, asked)
	}
	back := t.TempDir()
	if _, stderr, err := run(t, back, "pull", "-q", s.host+"/to/there@"+digest.String()); err != nil {
		t.Error(stderr)
	}
}

// loadAs puts an image into the store under a name.
func loadAs(t *testing.T, root string, img v1.Image, name string) {
	t.Helper()
	dir := t.TempDir()
	path, err := ocilayout.Write(dir, empty.Index)
	check(t, err)
	check(t, path.AppendImage(img))
	if _, stderr, err := run(t, root, "load", "-i", dir, "--name", name); err != nil {
		t.Fatal(stderr)
	}
}

// TestPushFails: one line for each, and no manifest for an image of which not all
// is there.
func TestPushFails(t *testing.T) {
	requireRoot(t)
	s := startServer(t)
	root := t.TempDir()
	to := s.host + "/other:1"
	loadAs(t, root, threeLayers(t), to)
	answer := func(method, path string, status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != method || !strings.Contains(r.URL.Path, path) {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	for _, c := range []struct {
		name, image, want string
		before            func(http.ResponseWriter, *http.Request) bool
	}{
		{"not here", s.host + "/nothing", "the image is not here\nhint: `minictr images` lists those that are, and `minictr tag` gives one another name", nil},
		{"a digest", s.host + "/other@sha256:" + strings.Repeat("0", 64), "a digest cannot be pushed to\nhint: name a tag: the digest is what comes of it", nil},
		{"refused", to, "no access to this repository of registry HOST (403 Forbidden: DENIED)\nhint: to push takes an account: `minictr login HOST`", answer("POST", "/uploads/", 403, `{"errors":[{"code":"DENIED"}]}`)},
		{"cannot be looked for", to, "no access to this repository of registry HOST (401 Unauthorized)\nhint: to push takes an account: `minictr login HOST`", answer("HEAD", "/blobs/", 401, "")},
		{"layer refused", to, "upload BLOB: registry HOST answers 413 Request Entity Too Large", answer("PUT", "/blobs/", 413, "")},
		{"manifest refused", to, "upload manifest MANIFEST: registry HOST answers 400 Bad Request: MANIFEST_INVALID", answer("PUT", "/manifests/", 400, `{"errors":[{"code":"MANIFEST_INVALID"}]}`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var put atomic.Bool
			s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == "PUT" && strings.Contains(r.URL.Path, "/manifests/") && c.name != "manifest refused" {
					put.Store(true)
				}
				return c.before != nil && c.before(w, r)
			})
			_, stderr, err := run(t, root, "push", "--progress", "none", c.image)
			want := "minictr: push " + c.image + ": " + c.want + "\n"
			if !strings.Contains(c.image, "@") && !strings.HasSuffix(c.image, ":1") {
				want = "minictr: push " + c.image + ":latest: " + c.want + "\n"
			}
			for _, l := range lookup(t, root, to).Layers {
				stderr = strings.ReplaceAll(stderr, l.Blob, "BLOB")
			}
			want = strings.NewReplacer("HOST", s.host, "MANIFEST_INVALID", "MANIFEST_INVALID", "MANIFEST", lookup(t, root, to).Manifest).Replace(want)
			if err == nil || stderr != want {
				t.Errorf("got  %swant %s", stderr, want)
			}
			if put.Load() {
				t.Error("the manifest was sent")
			}
		})
	}
}

// TestPushInterrupted: ^C in the middle of a layer ends it at once.
func TestPushInterrupted(t *testing.T) {
	requireRoot(t)
	s := startServer(t)
	root := t.TempDir()
	to := s.host + "/other:1"
	loadAs(t, root, threeLayers(t), to)
	reached := make(chan struct{})
	var once sync.Once
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != "PUT" {
			return false
		}
		once.Do(func() { close(reached) })
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		return true
	})
	child := program("--root", root, "push", "-q", to)
	var stderr bytes.Buffer
	child.Stderr = &stderr
	check(t, child.Start())
	t.Cleanup(func() { _ = child.Process.Kill() }) // mostly it has ended
	<-reached
	check(t, child.Process.Signal(unix.SIGINT))
	_ = child.Wait() // judged by its exit code
	if child.ProcessState.ExitCode() != 1 || stderr.String() != "minictr: push "+to+": interrupted\n" {
		t.Errorf("%v: %s", child.ProcessState, stderr.String())
	}
}

// TestPushToNowhere: the hint is one for who has an image, not for who wants one.
func TestPushToNowhere(t *testing.T) {
	requireRoot(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	host := closed.Addr().String()
	check(t, closed.Close())
	root := t.TempDir()
	loadAs(t, root, threeLayers(t), host+"/x/y:1")
	_, stderr, err := run(t, root, "push", "-q", host+"/x/y:1")
	want := "minictr: push " + host + "/x/y:1: cannot reach registry " + host + ": dial " + host + ": connection refused\nhint: without a network an image can go by file: `minictr save -o FILE IMAGE`\n"
	if err == nil || stderr != want {
		t.Errorf("got  %swant %s", stderr, want)
	}
}
