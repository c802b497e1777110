package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	fakeregistry "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/rootfs"
)

// A server is a registry on loopback. before, when set, may answer in its place.
type server struct {
	host   string
	before atomic.Pointer[func(w http.ResponseWriter, r *http.Request) (answered bool)]
	blobs  sync.Map // path -> *atomic.Int64: how often it was asked for
}

func startServer(t testing.TB) *server {
	t.Helper()
	s := &server{}
	real := fakeregistry.New(fakeregistry.Logger(log.New(io.Discard, "", 0)))
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			n, _ := s.blobs.LoadOrStore(r.URL.Path, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
		}
		if before := s.before.Load(); before != nil && (*before)(w, r) {
			return
		}
		real.ServeHTTP(w, r)
	}))
	h.Config.ErrorLog = log.New(io.Discard, "", 0) // clients speak TLS to it first
	t.Cleanup(h.Close)
	s.host = strings.TrimPrefix(h.URL, "http://")
	return s
}

func (s *server) intercept(f func(w http.ResponseWriter, r *http.Request) bool) { s.before.Store(&f) }

func (s *server) push(t testing.TB, repo string, img v1.Image) string {
	t.Helper()
	ref, err := name.ParseReference(s.host + "/" + repo)
	check(t, err)
	check(t, remote.Write(ref, img))
	return ref.Name()
}

func (s *server) pushIndex(t testing.TB, repo string, index v1.ImageIndex) string {
	t.Helper()
	ref, err := name.ParseReference(s.host + "/" + repo)
	check(t, err)
	check(t, remote.WriteIndex(ref, index))
	return ref.Name()
}

// TestPull: layers of every compression, the answer on standard output, what is
// shown meanwhile, and that a second pull fetches no layer.
func TestPull(t *testing.T) {
	requireRoot(t)
	s := startServer(t)
	img := threeLayers(t)
	ref := s.push(t, "some/image:1", img)
	root := t.TempDir()
	stdout, stderr, err := run(t, root, "pull", "--progress", "plain", ref)
	if err != nil || stdout != ref+"\n" {
		t.Fatalf("%q, %s", stdout, stderr)
	}
	for _, want := range []string{"Pulling " + ref, ": Download complete", ": Pull complete", "Digest: sha256:"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("standard error lacks %q:\n%s", want, stderr)
		}
	}
	image := lookup(t, root, ref)
	digest, _ := img.Digest()
	id, _ := img.ConfigName()
	if image.ID != id.String() || image.Digest != digest.String() || image.Config.Cmd[0] != "/bin/amd64" {
		t.Errorf("%+v", image)
	}
	for i, file := range []string{"/plain/c", "/zst/b", "/gz/a"} {
		if data, err := os.ReadFile(image.Lower()[i] + file); err != nil || string(data) != file[1:] {
			t.Errorf("%s: %q, %v", file, data, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Lstat(image.Lower()[1]+"/gone", &st); err != nil || st.Mode != unix.S_IFCHR {
		t.Errorf("whiteout: %o, %v", st.Mode, err)
	}
	stdout, stderr, err = run(t, root, "pull", "--quiet", s.host+"/some/image@"+digest.String())
	if err != nil || stdout != s.host+"/some/image@"+digest.String()+"\n" || stderr != "" {
		t.Errorf("by digest, quiet: %q, %q, %v", stdout, stderr, err)
	}
	if _, stderr, _ = run(t, root, "pull", ref); strings.Count(stderr, ": Already exists") != 3 {
		t.Errorf("again: %s", stderr)
	}
	layers, _ := img.Layers()
	for _, l := range layers {
		d, _ := l.Digest()
		if n, ok := s.blobs.Load("/v2/some/image/blobs/" + d.String()); !ok || n.(*atomic.Int64).Load() != 1 {
			t.Errorf("layer %s was not fetched once", d)
		}
	}
}

func TestPullPlatform(t *testing.T) {
	requireRoot(t)
	s := startServer(t)
	ref := s.pushIndex(t, "multi", makeIndex(t, "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/amd64", "linux/s390x"))
	for asked, want := range map[string]string{
		"linux/amd64": "/bin/amd64", "linux/x86_64": "/bin/amd64", "linux/amd64/v3": "/bin/amd64",
		"linux/arm64": "/bin/arm64v8", "linux/arm64/v8": "/bin/arm64v8", "linux/aarch64": "/bin/arm64v8",
		"linux/arm": "/bin/armv7", "linux/arm/v7": "/bin/armv7", "linux/arm/v6": "/bin/armv6", "linux/arm/v8": "/bin/armv7",
	} {
		root := t.TempDir()
		if _, stderr, err := run(t, root, "pull", "--quiet", "--platform", asked, ref); err != nil {
			t.Errorf("%s: %s", asked, stderr)
			continue
		}
		if image := lookup(t, root, ref); image.Config.Cmd[0] != want || image.Digest == image.Manifest {
			t.Errorf("%s: got %v, digest %s", asked, image.Config.Cmd, image.Digest)
		}
	}
	single := s.push(t, "single", makeImage(t, "linux/s390x", makeLayer(t, same, types.OCIUncompressedLayer, "x")))
	for _, c := range []struct{ platform, ref, want string }{
		{"linux/riscv64", ref, "no image for linux/riscv64 in the index, which has linux/arm/v6, linux/arm/v7, linux/arm64/v8, linux/amd64, linux/s390x"},
		{"linux/arm/v5", ref, "no image for linux/arm/v5 in the index, which has linux/arm/v6, linux/arm/v7, linux/arm64/v8, linux/amd64, linux/s390x"},
		{"linux/amd64", single, "image is for linux/s390x, not for linux/amd64"},
	} {
		_, stderr, err := run(t, t.TempDir(), "pull", "--platform", c.platform, c.ref)
		if want := "minictr: pull " + c.ref + ": " + c.want + "\n"; err == nil || stderr != want {
			t.Errorf("got  %swant %s", stderr, want)
		}
	}
	if _, stderr, err := run(t, t.TempDir(), "pull", single); err != nil || !strings.Contains(stderr, "minictr: warning: image is for linux/s390x, not for linux/") {
		t.Errorf("without --platform: %v, %s", err, stderr)
	}
}

// TestPullFails: everything a registry can do wrong gives one line that says
// what, and leaves the store as it was.
func TestPullFails(t *testing.T) {
	requireRoot(t)
	s := startServer(t)
	img := threeLayers(t)
	ref := s.push(t, "image", img)
	layers, _ := img.Layers()
	d, _ := layers[1].Digest()
	blob := d.String()
	id, _ := img.ConfigName()
	data, err := layers[1].Compressed()
	check(t, err)
	content, _ := io.ReadAll(data)
	answer := func(path string, status int, contentType, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, path) {
				return false
			}
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	oci := string(types.OCIManifestSchema1)
	for _, c := range []struct {
		name, cause, hint string
		before            func(http.ResponseWriter, *http.Request) bool
	}{
		{"not found", "no such image in registry HOST (404 Not Found: MANIFEST_UNKNOWN)", "check name and tag", answer("/manifests/", 404, "application/json", `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"x\ny"}]}`)},
		{"unauthorized", "no access to this repository of registry HOST (401 Unauthorized: UNAUTHORIZED)", "the repository may be private, or not exist: check the name, or `minictr login HOST`", answer("/manifests/", 401, "application/json", `{"errors":[{"code":"UNAUTHORIZED"}]}`)},
		{"teapot", "registry HOST answers 418 I'm a teapot", "", answer("/manifests/", 418, "", "")},
		{"web page", "manifest is not JSON of the right form: invalid character '<' looking for beginning of value", "", answer("/manifests/", 200, "text/html", "<html>")},
		{"other JSON", "manifest is neither that of an image nor an index", "", answer("/manifests/", 200, oci, `{"schemaVersion":2}`)},
		{"schema 1", "image is in Docker's schema 1 format, which is not supported", "push it again with a Docker of this decade, or `docker save` it and `minictr load` the archive", answer("/manifests/", 200, string(types.DockerManifestSchema1Signed), `{"schemaVersion":1,"fsLayers":[]}`)},
		{"image and index", "manifest is both that of an image and an index", "", answer("/manifests/", 200, string(types.OCIImageIndex), `{"schemaVersion":2,"manifests":[],"layers":[]}`)},
		{"index with a configuration", "manifest is both that of an image and an index", "", answer("/manifests/", 200, "text/plain", `{"schemaVersion":2,"manifests":[],"config":{}}`)},
		{"calls itself an index", "manifest says that it is application/vnd.oci.image.index.v1+json, which it is not", "", answer("/manifests/", 200, "text/plain", `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":{"digest":"`+blob+`"},"layers":[]}`)},
		{"calls itself an image", "manifest says that it is application/vnd.docker.distribution.manifest.v2+json, which it is not", "", answer("/manifests/", 200, "", `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","manifests":[]}`)},
		{"is called an image", "registry says that the manifest is application/vnd.oci.image.manifest.v1+json, which it is not", "", answer("/manifests/", 200, oci, `{"schemaVersion":2,"manifests":[]}`)},
		{"is called an index", "registry says that the manifest is application/vnd.oci.image.index.v1+json, which it is not", "", answer("/manifests/", 200, string(types.OCIImageIndex), `{"schemaVersion":2,"config":{"digest":"`+blob+`"},"layers":[]}`)},
		{"artifact", "not a container image, but an artifact of type application/vnd.example.sbom", "", answer("/manifests/", 200, oci, `{"schemaVersion":2,"artifactType":"application/vnd.example.sbom","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"`+blob+`","size":2},"layers":[]}`)},
		{"chart", "not a container image, but application/vnd.cncf.helm.config.v1+json", "", answer("/manifests/", 200, oci, `{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"`+blob+`","size":2},"layers":[]}`)},
		{"no digest", "manifest is neither that of an image nor an index", "", answer("/manifests/", 200, oci, `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2}}`)},
		{"empty index", "no image for linux/HOSTARCH in the index", "", answer("/manifests/", 200, string(types.OCIImageIndex), `{"schemaVersion":2,"manifests":[]}`)},
		{"layer missing", "registry HOST does not have blob " + blob, "", answer(blob, 404, "", "")},
		{"layer elsewhere", "registry HOST does not have blob " + blob + ", but names other places for it, which are not asked", "", func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case strings.Contains(r.URL.Path, blob):
				w.WriteHeader(404)
			case strings.Contains(r.URL.Path, "/manifests/"):
				raw, _ := img.RawManifest()
				w.Header().Set("Content-Type", oci)
				_, _ = w.Write(bytes.ReplaceAll(raw, []byte(`"digest":"`+blob+`"`), []byte(`"urls":["http://198.51.100.7/blob"],"digest":"`+blob+`"`)))
			default:
				return false
			}
			return true
		}},
		{"layer truncated", fmt.Sprintf("blob %s: truncated: %d of %d bytes", blob, 10, len(content)), "", func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, blob) {
				return false
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = w.Write(content[:10])
			return true
		}},
		{"layer too short", fmt.Sprintf("blob %s: truncated: %d of %d bytes", blob, 4, len(content)), "", answer(blob, 200, "", "four")},
		{"layer wrong", "blob " + blob + ": digest mismatch: content is " + digestOf(bytes.Repeat([]byte("x"), len(content))), "", answer(blob, 200, "", strings.Repeat("x", len(content)))},
		{"layer too long", fmt.Sprintf("blob %s: digest mismatch: more than %d bytes", blob, len(content)), "", answer(blob, 200, "", strings.Repeat("x", len(content)+100))},
		{"configuration wrong", "image configuration: blob " + id.String() + ": truncated: 2 of SIZE bytes", "", answer(id.String(), 200, "", "{}")},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			s.intercept(c.before)
			_, stderr, err := run(t, root, "pull", "--progress", "none", ref)
			config, _ := img.RawConfigFile()
			cause := strings.NewReplacer("HOSTARCH", (&platformFlag{}).hostArch(), "HOST", s.host, "SIZE", fmt.Sprint(len(config))).Replace(c.cause)
			want := "minictr: pull " + ref + ": " + cause + "\n"
			if c.hint != "" {
				want += "hint: " + strings.ReplaceAll(c.hint, "HOST", s.host) + "\n"
			}
			if err == nil || stderr != want {
				t.Errorf("got  %swant %s", stderr, want)
			}
			checkNoImage(t, root)
		})
	}
}

// checkNoImage wants a store without an image: at most what a later pull can go
// on with, which goes away when it is asked to.
func checkNoImage(t *testing.T, root string) {
	t.Helper()
	for _, file := range listStore(t, root) {
		if strings.HasPrefix(file, "/images/") && !strings.HasPrefix(file, "/images/partial/") && !strings.HasPrefix(file, "/images/layers/") {
			t.Errorf("left behind: %s", file)
		}
	}
	check(t, rootfs.OpenStore(root).Prune())
	if left := listStore(t, root); len(left) != 0 {
		t.Errorf("after Prune: %v", left)
	}
}

func (*platformFlag) hostArch() string { return platformFlag{}.orHost().arch }

func TestPullFromNowhere(t *testing.T) {
	requireRoot(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	host := closed.Addr().String()
	check(t, closed.Close())
	_, stderr, err := run(t, t.TempDir(), "pull", host+"/x/y")
	want := "minictr: pull " + host + "/x/y:latest: cannot reach registry " + host + ": dial " + host + ": connection refused\nhint: " + "without a network an image can come from a file: `minictr load -i ARCHIVE`, `minictr import ROOTFS.tar NAME`, or `minictr run --rootfs DIR`" + "\n"
	if err == nil || stderr != want {
		t.Errorf("got  %swant %s", stderr, want)
	}
}

// TestPullBrokenConnection: a connection that breaks once is tried again.
func TestPullBrokenConnection(t *testing.T) {
	requireRoot(t)
	s := startServer(t)
	img := threeLayers(t)
	ref := s.push(t, "image", img)
	layers, _ := img.Layers()
	d, _ := layers[0].Digest()
	var broken atomic.Bool
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, d.String()) || broken.Swap(true) {
			return false
		}
		w.Header().Set("Content-Length", "100000")
		_, _ = io.WriteString(w, "begin")
		return true
	})
	root := t.TempDir()
	if _, stderr, err := run(t, root, "pull", ref); err != nil {
		t.Fatal(stderr)
	}
	lookup(t, root, ref)
}

// stall makes the registry stop in the middle of the last layer and says so.
func stall(t *testing.T, s *server, img v1.Image) (reached, release chan struct{}) {
	layers, _ := img.Layers()
	d, _ := layers[len(layers)-1].Digest()
	reached, release = make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, d.String()) {
			return false
		}
		w.Header().Set("Content-Length", "100000")
		_, _ = io.WriteString(w, "begin")
		w.(http.Flusher).Flush()
		once.Do(func() { close(reached) })
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	})
	return reached, release
}

// TestPullKilled kills a pull in the middle. Nothing is taken for an image, and
// the next pull removes what is left and succeeds.
func TestPullKilled(t *testing.T) {
	requireRoot(t)
	s := startServer(t)
	img := threeLayers(t)
	ref := s.push(t, "image", img)
	reached, release := stall(t, s, img)
	root := t.TempDir()
	child := program("--root", root, "pull", ref)
	check(t, child.Start())
	t.Cleanup(func() { _ = child.Process.Kill() }) // mostly it has ended
	<-reached
	check(t, child.Process.Kill())
	_ = child.Wait() // killed, as it should be
	close(release)
	s.intercept(func(http.ResponseWriter, *http.Request) bool { return false })
	left := strings.Join(listStore(t, root), " ")
	if !strings.Contains(left, "/images/tmp/") || strings.Contains(left, "/images/ids/") {
		t.Fatalf("left by the killed pull: %s", left)
	}
	if _, stderr, err := run(t, root, "pull", ref); err != nil {
		t.Fatal(stderr)
	}
	lookup(t, root, ref)
	if left := strings.Join(listStore(t, root), " "); strings.Contains(left, "/images/tmp/") {
		t.Errorf("left behind: %s", left)
	}
}

// TestPullResumes: a pull that is killed in the middle of a layer is gone on with,
// and what was there is not fetched again.
func TestPullResumes(t *testing.T) {
	requireRoot(t)
	s := startServer(t)
	noise := make([]byte, 200_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // never fails
	img := makeImage(t, "linux/amd64", makeLayer(t, gzipped, types.OCILayer, "small"), makeBigLayer(t, noise))
	ref := s.push(t, "image", img)
	layers, _ := img.Layers()
	d, _ := layers[1].Digest()
	body, err := layers[1].Compressed()
	check(t, err)
	content, err := io.ReadAll(body)
	check(t, err)
	const cut = 120_000
	reached := make(chan struct{})
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, d.String()) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:cut])
		w.(http.Flusher).Flush()
		close(reached)
		<-r.Context().Done()
		return true
	})
	root := t.TempDir()
	child := program("--root", root, "pull", ref)
	check(t, child.Start())
	t.Cleanup(func() { _ = child.Process.Kill() }) // mostly it has ended
	<-reached
	partial := func(l v1.Layer) int64 {
		d, _ := l.Digest()
		return sizeOf(root + "/images/partial/" + d.Hex)
	}
	small, _ := layers[0].Size()
	for deadline := time.Now().Add(10 * time.Second); (partial(layers[1]) < cut || partial(layers[0]) < small) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	check(t, child.Process.Kill())
	_ = child.Wait() // killed, as it should be
	var ranges []string
	s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet {
			ranges = append(ranges, r.Header.Get("Range"))
		}
		return false
	})
	if _, stderr, err := run(t, root, "pull", ref); err != nil {
		t.Fatal(stderr)
	}
	// Of the configuration all, of the big layer the rest, of the small one nothing.
	if want := []string{"", fmt.Sprintf("bytes=%d-%d", cut, len(content)-1)}; !slices.Equal(ranges, want) {
		t.Errorf("asked for %q, want %q", ranges, want)
	}
	if data, err := os.ReadFile(lookup(t, root, ref).Lower()[0] + "/noise"); err != nil || !bytes.Equal(data, noise) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func sizeOf(file string) int64 {
	st, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return st.Size()
}

// makeBigLayer has one file, noise.
func makeBigLayer(t *testing.T, noise []byte) v1.Layer {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	check(t, w.WriteHeader(&tar.Header{Name: "noise", Mode: 0o644, Size: int64(len(noise))}))
	_, err := w.Write(noise)
	check(t, errors.Join(err, w.Close()))
	diffID, err := v1.NewHash(digestOf(b.Bytes()))
	check(t, err)
	return blobLayer{static.NewLayer(gzipped(t, b.Bytes()), types.OCILayer), diffID}
}

// TestPullInterrupted: SIGINT ends a pull with an error and leaves no image.
func TestPullInterrupted(t *testing.T) {
	requireRoot(t)
	s := startServer(t)
	img := threeLayers(t)
	ref := s.push(t, "image", img)
	reached, release := stall(t, s, img)
	defer close(release)
	root := t.TempDir()
	child := program("--root", root, "pull", "-q", ref)
	var stderr bytes.Buffer
	child.Stderr = &stderr
	check(t, child.Start())
	t.Cleanup(func() { _ = child.Process.Kill() }) // mostly it has ended
	<-reached
	check(t, child.Process.Signal(unix.SIGINT))
	err := child.Wait()
	if child.ProcessState.ExitCode() != 1 || stderr.String() != "minictr: pull "+ref+": interrupted\n" {
		t.Errorf("%v, %s", err, stderr.String())
	}
	checkNoImage(t, root)
}

// TestPullConcurrently: processes that pull images with common layers at once.
func TestPullConcurrently(t *testing.T) {
	requireRoot(t)
	s := startServer(t)
	common := makeLayer(t, gzipped, types.OCILayer, "common")
	var refs []string
	for i := range 4 {
		refs = append(refs, s.push(t, fmt.Sprint("image", i/2), makeImage(t, "linux/amd64", common, makeLayer(t, gzipped, types.OCILayer, fmt.Sprint("own", i/2)))))
	}
	root := t.TempDir()
	var wg sync.WaitGroup
	for _, ref := range refs {
		wg.Go(func() {
			if out, err := program("--root", root, "pull", "-q", ref).CombinedOutput(); err != nil || string(out) != ref+"\n" {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	for _, ref := range refs {
		lookup(t, root, ref)
	}
	if layers, _ := os.ReadDir(root + "/l"); len(layers) != 3 {
		t.Errorf("%d layers, want 3", len(layers))
	}
}

// TestPullOnFullDisk: one line, a hint, and an unchanged store. The disk is a
// detached tmpfs, which no mount table shows.
func TestPullOnFullDisk(t *testing.T) {
	requireRoot(t)
	s := startServer(t)
	small := s.push(t, "small", threeLayers(t))
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("%0200d/%0200d", i, i))
	}
	big := s.push(t, "big", makeImage(t, "linux/amd64", makeLayer(t, gzipped, types.OCILayer, names...)))
	fsfd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	check(t, err)
	defer unix.Close(fsfd)
	check(t, unix.FsconfigSetString(fsfd, "size", "160k"))
	check(t, unix.FsconfigCreate(fsfd))
	fd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(fd)
	root := fmt.Sprintf("/proc/self/fd/%d", fd)
	if _, stderr, err := run(t, root, "pull", "-q", small); err != nil {
		t.Fatal(stderr)
	}
	before := listStore(t, root+"/.")
	_, stderr, err := run(t, root, "pull", "-q", big)
	if err == nil || !strings.HasPrefix(stderr, "minictr: pull "+big+": ") || !strings.HasSuffix(stderr, ": no space left on device\nhint: see `df -h` and `df -i`; `minictr rmi IMAGE` frees what no other image uses\n") {
		t.Errorf("got %s", stderr)
	}
	if diff := cmp.Diff(before, listStore(t, root+"/.")); diff != "" {
		t.Errorf("changed:\n%s", diff)
	}
	lookup(t, root, small)
}

// TestPullRealImages seeds the registry with published images.
func TestPullRealImages(t *testing.T) {
	requireRoot(t)
	index, err := ocilayout.ImageIndexFromPath("../../../shared/images/busybox-1.38.0-musl-oci")
	if err != nil {
		t.Skip("needs the BusyBox image layout: ", err)
	}
	manifest, err := index.IndexManifest()
	check(t, err)
	inner, err := index.ImageIndex(manifest.Manifests[0].Digest)
	check(t, err)
	s := startServer(t)
	ref := s.pushIndex(t, "busybox", inner)
	root := t.TempDir()
	for _, arch := range []string{"amd64", "arm64"} {
		begin := time.Now()
		if _, stderr, err := run(t, root, "pull", "-q", "--platform", "linux/"+arch, ref); err != nil {
			t.Fatal(stderr)
		}
		t.Logf("pull of busybox for %s from loopback: %v", arch, time.Since(begin))
		image := lookup(t, root, ref)
		if st, err := os.Stat(image.Lower()[0] + "/bin/busybox"); err != nil || st.Mode().Perm() != 0o755 || image.Config.Architecture != arch {
			t.Errorf("%s: %v, %v", arch, st, err)
		}
	}
	f, err := os.Open("../../../shared/images/alpine-minirootfs-3.20.3-x86_64.tar.gz")
	if err != nil {
		t.Skip("needs the Alpine root file system: ", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	check(t, err)
	plain, err := io.ReadAll(z)
	check(t, err)
	blob, err := os.ReadFile(f.Name())
	check(t, err)
	diffID, _ := v1.NewHash(digestOf(plain))
	ref = s.push(t, "alpine", makeImage(t, "linux/amd64", blobLayer{newStatic(blob), diffID}))
	begin := time.Now()
	if _, stderr, err := run(t, root, "pull", "-q", ref); err != nil {
		t.Fatal(stderr)
	}
	t.Logf("pull of alpine from loopback: %v", time.Since(begin))
}
