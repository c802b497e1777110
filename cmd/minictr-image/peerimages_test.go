package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/minictr/minictr/rootfs"
)

const peerName = "docker.io/library/peer:1"

// readManifest returns the manifest of an image of a store as it was published.
func readManifest(t testing.TB, root string, image *rootfs.Image) string {
	t.Helper()
	raw, err := rootfs.OpenStore(root).Blob(image.Manifest)
	check(t, err)
	return string(raw)
}

// TestSkopeoReadsOurs: skopeo finds the manifest in each form, to the byte where
// the form keeps it, and what it copies is the same image here.
func TestSkopeoReadsOurs(t *testing.T) {
	p := newPeer(t, "skopeo")
	root := loaded(t, map[string]v1.Image{peerName: everyKindImage(t, gzipped, types.OCILayer), "docker.io/library/other:1": gzipImage(t)})
	image := lookup(t, root, peerName)
	tree := treeOf(t, image)
	p.save(root, formatOCI, "oci.tar", peerName, "other:1")
	p.save(root, formatDir, "oci", peerName, "other:1")
	p.save(root, formatDocker, "docker.tar", peerName, "other:1")
	for _, from := range []string{"oci-archive:oci.tar:" + peerName, "oci:oci:" + peerName} {
		if got, want := p.run("skopeo", "inspect", "--raw", from), readManifest(t, root, image); got != want {
			t.Errorf("%s: got %s, want %s", from, got, want)
		}
	}
	if got := p.run("skopeo", "inspect", "--raw", "docker-archive:docker.tar:"+peerName); !strings.Contains(got, image.ID) {
		t.Errorf("docker-archive: %s is not of %s", got, image.ID)
	}
	for from, to := range map[string]string{
		"oci-archive:oci.tar:" + peerName: "oci:from-oci:peer:1", "oci:oci:" + peerName: "oci-archive:from-dir:peer:1",
		"docker-archive:docker.tar:" + peerName: "oci:from-docker:peer:1",
	} {
		p.skopeoCopy(from, to)
		dir := strings.Split(to, ":")[1]
		back := p.load(dir)
		if dir != "from-docker" { // of which skopeo makes an image of the OCI
			sameImage(t, root, peerName, back, "peer:1")
		}
		sameTree(t, from, tree, treeOf(t, lookup(t, back, "peer:1")))
	}
}

// TestWeReadSkopeos: what skopeo writes in each form and compression is the
// image that it was.
func TestWeReadSkopeos(t *testing.T) {
	p := newPeer(t, "skopeo")
	root := loaded(t, map[string]v1.Image{peerName: everyKindImage(t, gzipped, types.OCILayer)})
	image := lookup(t, root, peerName)
	p.save(root, formatDir, "ours", peerName)
	for name, args := range map[string][]string{
		"docker":   {"docker-archive:docker:" + peerName},
		"oci-tar":  {"oci-archive:oci-tar:" + peerName},
		"oci":      {"oci:oci:" + peerName},
		"oci-zstd": {"--dest-compress-format", "zstd", "oci:oci-zstd:" + peerName},
		"oci-v2s2": {"--format", "v2s2", "oci:oci-v2s2:" + peerName},
	} {
		p.skopeoCopy(append([]string{"oci:ours:" + peerName}, args...)...)
		back := p.load(name)
		got := lookup(t, back, peerName)
		if got.ID != image.ID && name != "oci-v2s2" { // which is another configuration
			t.Errorf("%s: id %s instead of %s", name, got.ID, image.ID)
		}
		sameTree(t, name, treeOf(t, image), treeOf(t, got))
		p.save(back, formatDocker, name+"-again", peerName) // each is saved, and read, in turn
		if id := p.run("skopeo", "inspect", "--config", "--format", "{{.Architecture}}", "docker-archive:"+name+"-again"); id != "amd64" {
			t.Errorf("%s, saved again: %q", name, id)
		}
	}
}

// TestUmociReadsOurs: umoci unpacks what we unpack.
func TestUmociReadsOurs(t *testing.T) {
	p := newPeer(t, "umoci")
	root := loaded(t, map[string]v1.Image{peerName: everyKindImage(t, gzipped, types.OCILayer)})
	p.save(root, formatDir, "ours", peerName)
	if got := p.run("umoci", "ls", "--layout", "ours"); got != peerName {
		t.Errorf("umoci ls: %q", got)
	}
	p.run("umoci", "unpack", "--image", "ours:"+peerName, "bundle")
	sameTree(t, "umoci unpack", treeOf(t, lookup(t, root, peerName)), describeTree(t, p.path("bundle/rootfs")))
}

// TestWeReadUmocis: an image made in layers by umoci has the same files here.
func TestWeReadUmocis(t *testing.T) {
	p := newPeer(t, "umoci")
	check(t, os.MkdirAll(p.path("tree/dir"), 0o711))
	check(t, os.WriteFile(p.path("tree/dir/file"), []byte("content"), 0o640))
	check(t, os.Chown(p.path("tree/dir/file"), 7, 8))
	p.run("umoci", "init", "--layout", "made")
	p.run("umoci", "new", "--image", "made:one")
	p.run("umoci", "insert", "--image", "made:one", "tree", "/first")
	p.run("umoci", "insert", "--image", "made:one", "tree", "/second")
	p.run("umoci", "insert", "--image", "made:one", "--opaque", "tree", "/second/dir")
	p.run("umoci", "insert", "--image", "made:one", "--whiteout", "/first/dir/file")
	p.run("umoci", "unpack", "--image", "made:one", "bundle")
	check(t, os.RemoveAll(p.path("bundle/rootfs/second")))
	check(t, os.WriteFile(p.path("bundle/rootfs/second"), []byte("a file now"), 0o4755))
	check(t, os.Symlink("second", p.path("bundle/rootfs/link")))
	check(t, os.Link(p.path("bundle/rootfs/second"), p.path("bundle/rootfs/same")))
	p.run("umoci", "repack", "--image", "made:two", "bundle")
	p.run("umoci", "config", "--image", "made:two", "--config.cmd", "/second", "--config.label", "a=b", "--author", "somebody")
	p.run("umoci", "unpack", "--image", "made:two", "again")
	if stdout, stderr, err := run(t, t.TempDir(), "load", "-i", p.path("made")); err != nil || strings.Count(stdout, "Loaded image ID: sha256:") != 2 {
		t.Errorf("two tags: %q %s", stdout, stderr)
	}
	p.run("umoci", "rm", "--image", "made:one")
	two := lookup(t, p.load("made", "--name", "made:two"), "made:two")
	if len(two.Layers) != 5 || len(two.Config.Cmd) != 1 || two.Config.Cmd[0] != "/second" || two.Config.Labels["a"] != "b" {
		t.Errorf("%+v", two)
	}
	sameTree(t, "umoci unpack", treeOf(t, two), describeTree(t, p.path("again/rootfs")))
}

// TestPodmanReadsOurs: podman loads each form as the same image under the same
// name, and shows the same files.
func TestPodmanReadsOurs(t *testing.T) {
	p := newPeer(t, "podman")
	root := loaded(t, map[string]v1.Image{
		peerName: everyKindImage(t, gzipped, types.OCILayer), "docker.io/library/zstd:1": everyKindImage(t, zstded, types.OCILayerZStd),
	})
	image := lookup(t, root, peerName)
	p.save(root, formatDocker, "docker.tar", peerName, "zstd:1")
	p.save(root, formatOCI, "oci.tar", peerName)
	p.save(root, formatDir, "oci", peerName)
	for input, n := range map[string]string{"docker.tar": peerName, "oci.tar": peerName, "oci": "localhost/oci:latest"} { // podman's name for a directory
		p.podman("load", "--quiet", "--input", input)
		if got := "sha256:" + p.podman("image", "inspect", "--format", "{{.Id}}", n); got != image.ID {
			t.Errorf("%s: %s instead of %s", input, got, image.ID)
		}
		sameTree(t, input, treeOf(t, image), describeTree(t, p.podman("image", "mount", n)))
		p.podman("image", "unmount", n)
		p.podman("rmi", "--force", n)
	}
	// The other image of docker.tar.
	sameTree(t, "zstd", treeOf(t, lookup(t, root, "zstd:1")), describeTree(t, p.podman("image", "mount", "docker.io/library/zstd:1")))
	p.podman("image", "unmount", "--all")
}

func withoutRoot(tree string) string {
	_, rest, _ := strings.Cut(tree, "\n")
	return rest
}

// TestWeReadBuildahs: what buildah commits has the same files and configuration
// here.
func TestWeReadBuildahs(t *testing.T) {
	p := newPeer(t, "buildah")
	check(t, os.MkdirAll(p.path("tree/dir"), 0o711))
	check(t, os.WriteFile(p.path("tree/dir/file"), []byte("content"), 0o4750))
	check(t, os.Symlink("dir/file", p.path("tree/link")))
	c := p.run("buildah", "from", "scratch")
	p.run("buildah", "copy", "--chown", "7:8", c, "tree", "/data")
	p.run("buildah", "config", "--cmd", `["/data/link"]`, "--env", "A=b", "--label", "l=m", "--volume", "/v", "--port", "80", "--stop-signal", "9", "--workingdir", "/data", "--user", "7", c)
	files := describeTree(t, p.run("buildah", "mount", c))
	p.run("buildah", "umount", c)
	for name, to := range map[string]string{"oci": "oci:oci:built:1", "oci-tar": "oci-archive:oci-tar:built:1", "docker": "docker-archive:docker:built:1"} {
		p.run("buildah", "commit", "--quiet", c, to)
		image := lookup(t, p.load(name), "built:1")
		sameTree(t, name, withoutRoot(treeOf(t, image)), withoutRoot(files)) // of which its layer says nothing
		got, err := json.Marshal(image.Config)
		check(t, err)
		for _, want := range []string{`"cmd":["/data/link"]`, `"env":["A=b"]`, `"l":"m"`, `"volumes":{"/v":{}}`, `"exposedPorts":{"80`, `"stopSignal":"9"`, `"workingDir":"/data"`, `"user":"7"`} {
			if !strings.Contains(string(got), want) {
				t.Errorf("%s: %s lacks %s", name, got, want)
			}
		}
	}
	p.run("buildah", "rm", "--all")
}
