package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/test/kernel"
)

// A distribution is Debian's docker-registry on loopback, with TLS by an
// authority of its own and a password for alice.
type distribution struct {
	host string
	dir  string // registries.conf, certs.d, and what the server keeps
}

// aliceLine is what `htpasswd -B` writes for alice and s3cret, with the least
// cost.
const aliceLine = "alice:$2b$04$6gkLiiZ3.Z0hWqi4tI2D7ucsBgPnHIuiwVvd6hYZSZLZ5AC9tDyuO\n"

// startDistribution runs the server until the test ends. Credentials of whoever
// runs the test are out of reach.
func startDistribution(t *testing.T) *distribution {
	t.Helper()
	requireRoot(t)
	kernel.RequireCommand(t, "docker-registry", "skopeo")
	d := &distribution{dir: t.TempDir(), host: freeAddress(t)}
	authority, cert, key := makeCertificate(t)
	d.write(t, "certs.d/"+d.host+"/ca.crt", authority)
	d.write(t, "registries.conf", nil)
	d.write(t, "server.crt", cert)
	d.write(t, "server.key", key)
	d.write(t, "htpasswd", []byte(aliceLine))
	config := fmt.Sprintf(`{"version":"0.1","log":{"level":"error"},"storage":{"filesystem":{"rootdirectory":"%[1]s/data"}},
		"http":{"addr":%[2]q,"tls":{"certificate":"%[1]s/server.crt","key":"%[1]s/server.key"}},
		"auth":{"htpasswd":{"realm":"test","path":"%[1]s/htpasswd"}}}`, d.dir, d.host)
	d.write(t, "config.yml", []byte(config))
	said, err := os.Create(d.dir + "/said")
	check(t, err)
	defer said.Close()
	server := exec.Command("docker-registry", "serve", d.dir+"/config.yml")
	server.Stdout, server.Stderr = said, said
	server.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	check(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Kill() // it is ours, and has not been waited for
		_ = server.Wait()         // killed, as it should be
	})
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	kernel.Eventually(t, 20*time.Second, func() error {
		answer, err := client.Get("https://" + d.host + "/v2/")
		if err != nil {
			text, _ := os.ReadFile(said.Name()) // what it says of it
			return fmt.Errorf("%w; %s", err, text)
		}
		return answer.Body.Close()
	})
	t.Setenv("MINICTR_REGISTRIES_CONF", d.dir+"/registries.conf")
	for _, name := range []string{"DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"} {
		t.Setenv(name, t.TempDir())
	}
	t.Setenv("REGISTRY_AUTH_FILE", "")
	return d
}

func (d *distribution) write(t *testing.T, name string, data []byte) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(d.dir+"/"+name), 0o755))
	check(t, os.WriteFile(d.dir+"/"+name, data, 0o600))
}

// skopeo runs it with alice's password for the registry.
func (d *distribution) skopeo(t *testing.T, args ...string) string {
	t.Helper()
	args = append([]string{"--insecure-policy"}, args...)
	certs := d.dir + "/certs.d/" + d.host
	switch args[1] {
	case "inspect":
		args = append(args, "--creds", "alice:s3cret", "--cert-dir", certs)
	case "copy":
		args = append(args, "--src-creds", "alice:s3cret", "--src-cert-dir", certs, "--dest-creds", "alice:s3cret", "--dest-cert-dir", certs)
	}
	c := exec.Command("skopeo", args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("skopeo %q: %v: %s", args, err, stderr.String())
	}
	return string(out)
}

// freeAddress is a port of loopback that nobody listens to, for a server that
// cannot choose one and say which.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	return l.Addr().String()
}

// makeCertificate makes an authority and a certificate for loopback, all as PEM.
func makeCertificate(t testing.TB) (authority, cert, key []byte) {
	t.Helper()
	template := func(serial int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: fmt.Sprint("test ", serial)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
	}
	ca, server := template(1), template(2)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	check(t, err)
	serverDER, err := x509.CreateCertificate(rand.Reader, server, ca, serverKey.Public(), caKey)
	check(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(serverKey)
	check(t, err)
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return encode("CERTIFICATE", caDER), encode("CERTIFICATE", serverDER), encode("PRIVATE KEY", keyDER)
}

// publishedLayout is an OCI layout that skopeo can read, and the name of an image
// in it: a published one where it is at hand, else one of ours.
func publishedLayout(t *testing.T) string {
	t.Helper()
	const real = "../../../shared/images/busybox-1.38.0-musl-oci"
	if _, err := os.Stat(real + "/index.json"); err == nil {
		return "oci:" + real + ":busybox:1.38.0-musl"
	}
	dir := t.TempDir()
	path, err := ocilayout.Write(dir, empty.Index)
	check(t, err)
	check(t, path.AppendImage(mutate.ConfigMediaType(threeLayers(t), types.OCIConfigJSON), ocilayout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "busybox:1.38.0-musl"})))
	return "oci:" + dir + ":busybox:1.38.0-musl"
}

func digestBySkopeo(t *testing.T, d *distribution, name string) string {
	t.Helper()
	var answer struct{ Digest string }
	check(t, json.Unmarshal([]byte(d.skopeo(t, "inspect", "docker://"+name)), &answer))
	return answer.Digest
}

// TestPeerPull: what skopeo has pushed is refused to a stranger, and pulled with
// the digest that skopeo sees by whoever has logged in.
func TestPeerPull(t *testing.T) {
	d := startDistribution(t)
	name := d.host + "/some/busybox:1"
	d.skopeo(t, "copy", "--all", publishedLayout(t), "docker://"+name)
	root := t.TempDir()
	_, stderr, err := run(t, root, "pull", "-q", name)
	want := "minictr: pull " + name + ": no access to this repository of registry " + d.host + " (401 Unauthorized: UNAUTHORIZED)\nhint: the repository may be private, or not exist: check the name, or `minictr login " + d.host + "`\n"
	if err == nil || stderr != want {
		t.Errorf("got  %swant %s", stderr, want)
	}
	if _, stderr, err = runWith(t, root, strings.NewReader("wrong\n"), "login", "-u", "alice", "--password-stdin", d.host); err == nil || !strings.HasPrefix(stderr, "minictr: log in to "+d.host+": registry "+d.host+" does not accept this user name and password (401 Unauthorized)\n") {
		t.Errorf("%v, %s", err, stderr)
	}
	d.login(t)
	stdout, stderr, err := run(t, root, "pull", "--platform", "linux/amd64", name)
	digest := digestBySkopeo(t, d, name)
	if err != nil || stdout != name+"\n" || !strings.HasSuffix(stderr, "Digest: "+digest+"\n") {
		t.Errorf("%q, %s, want digest %s", stdout, stderr, digest)
	}
	if image := lookup(t, root, name); image.Digest != digest {
		t.Errorf("digest %s, want %s", image.Digest, digest)
	}
	pinned := d.host + "/some/busybox@" + digest
	if _, stderr, err = run(t, root, "pull", "-q", "--platform", "linux/amd64", pinned); err != nil || stderr != "" {
		t.Error(stderr)
	}
	other := d.host + "/some/busybox@sha256:" + strings.Repeat("0", 64)
	want = "minictr: pull " + other + ": no such image in registry " + d.host + " (404 Not Found: MANIFEST_UNKNOWN)\nhint: check name and tag\n"
	if _, stderr, err = run(t, root, "pull", other); err == nil || stderr != want {
		t.Errorf("got  %swant %s", stderr, want)
	}
	if stdout, _, err = run(t, root, "logout", d.host); err != nil || stdout != "Removed the credentials for "+d.host+" from "+os.Getenv("DOCKER_CONFIG")+"/config.json\n" {
		t.Errorf("%v, %s", err, stdout)
	}
	if _, _, err = run(t, t.TempDir(), "pull", "-q", name); err == nil {
		t.Error("pulled without a password")
	}
}

func (d *distribution) login(t *testing.T) {
	t.Helper()
	stdout, stderr, err := runWith(t, t.TempDir(), strings.NewReader("s3cret\n"), "login", "-u", "alice", "--password-stdin", d.host)
	want := "minictr: warning: the password is in " + os.Getenv("DOCKER_CONFIG") + "/config.json, encoded but not encrypted; a credential helper keeps it better\n"
	if err != nil || stdout != "Login Succeeded\n" || stderr != want {
		t.Fatalf("%q, %s", stdout, stderr)
	}
}

// TestPeerPodmanLogin: what podman or skopeo has logged in counts for us, and
// what we have, for them.
func TestPeerPodmanLogin(t *testing.T) {
	d := startDistribution(t)
	name := d.host + "/x/y:1"
	auth := d.dir + "/auth.json"
	t.Setenv("REGISTRY_AUTH_FILE", auth)
	c := exec.Command("skopeo", "login", "--authfile", auth, "--cert-dir", d.dir+"/certs.d/"+d.host, "-u", "alice", "-p", "s3cret", d.host)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d.skopeo(t, "copy", "--all", publishedLayout(t), "docker://"+name)
	if _, stderr, err := run(t, t.TempDir(), "pull", "-q", "--platform", "linux/amd64", name); err != nil {
		t.Fatal(stderr)
	}
	stdout, _, err := run(t, t.TempDir(), "logout", d.host)
	if err != nil || stdout != "Removed the credentials for "+d.host+" from "+auth+"\n" {
		t.Errorf("%v, %s", err, stdout)
	}
	if _, _, err := runWith(t, t.TempDir(), strings.NewReader("s3cret"), "login", "-u", "alice", "--password-stdin", d.host); err != nil {
		t.Fatal(err)
	}
	c = exec.Command("skopeo", "inspect", "--authfile", auth, "--cert-dir", d.dir+"/certs.d/"+d.host, "docker://"+name)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("skopeo with our login: %v: %s", err, out)
	}
}

// TestPeerPush: an image goes through us from one repository to another and keeps
// its digest; skopeo reads it, with every blob's digest, back; and a second push
// sends nothing.
func TestPeerPush(t *testing.T) {
	d := startDistribution(t)
	d.login(t)
	first, second := d.host+"/first/image:1", d.host+"/second/image:2"
	layout := t.TempDir()
	path, err := ocilayout.Write(layout, empty.Index)
	check(t, err)
	common := makeLayer(t, gzipped, types.OCILayer, "common/a")
	img := makeImage(t, "linux/amd64", common, makeLayer(t, zstded, types.OCILayerZStd, "b"), makeLayer(t, same, types.OCIUncompressedLayer, "c"), common)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON) // skopeo wants the two to fit
	check(t, path.AppendImage(img, ocilayout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": first})))
	want, err := img.Digest()
	check(t, err)
	root := t.TempDir()
	if _, stderr, err := run(t, root, "load", "-i", layout, "--name", first); err != nil {
		t.Fatal(stderr)
	}
	if _, stderr, err := run(t, root, "load", "-i", layout, "--name", second); err != nil {
		t.Fatal(stderr)
	}
	for _, c := range []struct{ name, word string }{{first, "Pushed"}, {first, "Already exists"}, {second, "Mounted"}} {
		stdout, stderr, err := run(t, root, "push", "--progress", "plain", c.name)
		if err != nil || stdout != c.name+"\n" || strings.Count(stderr, ": "+c.word+"\n") != 3 || !strings.HasSuffix(stderr, "Digest: "+want.String()+"\n") {
			t.Errorf("%v, %q, %s; want each layer %q", err, stdout, stderr, c.word)
		}
		if got := digestBySkopeo(t, d, c.name); got != want.String() {
			t.Errorf("%s: skopeo sees %s, want %s", c.name, got, want)
		}
	}
	back := t.TempDir()
	d.skopeo(t, "copy", "--preserve-digests", "docker://"+second, "oci:"+back+":x")
	index, err := ocilayout.ImageIndexFromPath(back)
	check(t, err)
	manifest, err := index.IndexManifest()
	check(t, err)
	if got := manifest.Manifests[0].Digest; got != want {
		t.Errorf("back: %s, want %s", got, want)
	}
	other := t.TempDir()
	if _, stderr, err := run(t, other, "pull", "-q", second); err != nil {
		t.Fatal(stderr)
	}
	if diff := cmp.Diff(lookup(t, root, first).Layers, lookup(t, other, second).Layers, cmp.Comparer(func(a, b rootfs.Layer) bool {
		return a.DiffID == b.DiffID && a.Blob == b.Blob
	})); diff != "" {
		t.Error(diff)
	}
}

// TestPeerPushImported: an image that never had a published form gets one.
func TestPeerPushImported(t *testing.T) {
	d := startDistribution(t)
	d.login(t)
	name := d.host + "/imported:1"
	root := t.TempDir()
	if _, stderr, err := runWith(t, root, bytes.NewReader(layerTar(t, "etc/hello")), "import", "-c", "CMD [\"/hello\"]", "-", name); err != nil {
		t.Fatal(stderr)
	}
	if _, stderr, err := run(t, root, "push", "-q", name); err != nil {
		t.Fatal(stderr)
	}
	other := t.TempDir()
	if _, stderr, err := run(t, other, "pull", "-q", name); err != nil {
		t.Fatal(stderr)
	}
	image := lookup(t, other, name)
	if data, err := os.ReadFile(image.Lower()[0] + "/etc/hello"); err != nil || string(data) != "etc/hello" || image.ID != lookup(t, root, name).ID {
		t.Errorf("%q, %v", data, err)
	}
	var config struct{ Config v1.Config }
	check(t, json.Unmarshal([]byte(d.skopeo(t, "inspect", "--config", "docker://"+name)), &config))
	if len(config.Config.Cmd) != 1 || config.Config.Cmd[0] != "/hello" {
		t.Errorf("%+v", config)
	}
}

// TestPeerMirror: an image of Docker Hub comes from the mirror that the
// configuration names, under its own name.
func TestPeerMirror(t *testing.T) {
	d := startDistribution(t)
	d.login(t)
	d.skopeo(t, "copy", "--all", publishedLayout(t), "docker://"+d.host+"/hub/library/busybox:1")
	d.write(t, "registries.conf", fmt.Appendf(nil, "[[registry]]\nprefix = 'docker.io'\nlocation = 'docker.io'\n[[registry.mirror]]\nlocation = '%s'\n[[registry.mirror]]\nlocation = '%s/hub'\n", freeAddress(t), d.host))
	root := t.TempDir()
	stdout, stderr, err := run(t, root, "pull", "--platform", "linux/amd64", "busybox:1")
	if err != nil || stdout != "docker.io/library/busybox:1\n" || !strings.Contains(stderr, "connection refused; trying "+d.host+"/hub/library/busybox\n") {
		t.Errorf("%q, %s", stdout, stderr)
	}
	lookup(t, root, "busybox:1")
}
