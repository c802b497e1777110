package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/minictr/minictr/rootfs"
)

// dockerArchive is what docker save wrote before version 25.
func dockerArchive(t testing.TB, img v1.Image, names ...string) []byte {
	t.Helper()
	images := map[name.Reference]v1.Image{}
	for _, n := range names {
		ref, err := name.NewTag(n)
		check(t, err)
		images[ref] = img
	}
	var b bytes.Buffer
	check(t, tarball.MultiRefWrite(images, &b))
	return b.Bytes()
}

// ociLayout writes an image layout and returns its directory.
func ociLayout(t testing.TB, index v1.ImageIndex) string {
	t.Helper()
	dir := t.TempDir()
	_, err := ocilayout.Write(dir, index)
	check(t, err)
	return dir
}

func named(t testing.TB, img v1.Image, annotations map[string]string) mutate.IndexAddendum {
	return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Annotations: annotations}}
}

// tarOf packs a directory.
func tarOf(t testing.TB, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	check(t, w.AddFS(os.DirFS(dir)))
	check(t, w.Close())
	return b.Bytes()
}

func gzipImage(t testing.TB) v1.Image {
	return makeImage(t, "linux/amd64", makeLayer(t, gzipped, types.OCILayer, "a"), makeLayer(t, gzipped, types.OCILayer, "b"))
}

func amd64Only(args ...string) []string { return append(args, "--platform", "linux/amd64") }

// TestLoad: the same image in every form that it comes in.
func TestLoad(t *testing.T) {
	requireRoot(t)
	img := gzipImage(t)
	id, _ := img.ConfigName()
	dir := ociLayout(t, mutate.AppendManifests(empty.Index, named(t, img, map[string]string{annotationRefName: "some/name:1"})))
	docker := dockerArchive(t, img, "some/name:1")
	for form, data := range map[string][]byte{
		"docker": docker, "docker gzip": gzipped(t, docker), "docker zstd": zstded(t, docker),
		"oci": tarOf(t, dir), "oci gzip": gzipped(t, tarOf(t, dir)),
	} {
		file := filepath.Join(t.TempDir(), "archive")
		check(t, os.WriteFile(file, data, 0o600))
		for way, load := range map[string]func(root string) (string, string, error){
			"file": func(root string) (string, string, error) { return run(t, root, amd64Only("load", "-i", file)...) },
			"stdin": func(root string) (string, string, error) {
				return runWith(t, root, bytes.NewReader(data), amd64Only("load")...)
			},
		} {
			root := t.TempDir()
			stdout, stderr, err := load(root)
			if err != nil || stdout != "Loaded image: some/name:1\n" || stderr != "" {
				t.Errorf("%s from %s: %q, %q", form, way, stdout, stderr)
				continue
			}
			if image := lookup(t, root, "some/name:1"); image.ID != id.String() || len(image.Layers) != 2 {
				t.Errorf("%s from %s: %+v", form, way, image)
			}
			if left := strings.Join(listStore(t, root), " "); strings.Contains(left, "/images/tmp/") {
				t.Errorf("%s from %s left %s", form, way, left)
			}
		}
	}
	root := t.TempDir()
	if stdout, stderr, err := run(t, root, amd64Only("load", "--input", dir)...); err != nil || stdout != "Loaded image: some/name:1\n" {
		t.Errorf("directory: %q, %q", stdout, stderr)
	}
}

// TestLoadNames: where the name of an image comes from.
func TestLoadNames(t *testing.T) {
	requireRoot(t)
	img := gzipImage(t)
	id, _ := img.ConfigName()
	for _, c := range []struct {
		annotations map[string]string
		flags       []string
		want        string
	}{
		{map[string]string{annotationName: "docker.io/library/x:1", annotationRefName: "1"}, nil, "Loaded image: x:1\n"},
		{map[string]string{annotationRefName: "reg.example/x"}, nil, "Loaded image: reg.example/x:latest\n"},
		{map[string]string{annotationRefName: "latest"}, nil, "Loaded image ID: " + id.String() + "\n"},
		{nil, nil, "Loaded image ID: " + id.String() + "\n"},
		{nil, []string{"--name", "mine"}, "Loaded image: mine:latest\n"},
		{map[string]string{annotationName: "docker.io/library/x:1"}, []string{"--name", "mine:2"}, "Loaded image: mine:2\n"},
	} {
		root := t.TempDir()
		dir := ociLayout(t, mutate.AppendManifests(empty.Index, named(t, img, c.annotations)))
		stdout, stderr, err := run(t, root, amd64Only(append([]string{"load", "-i", dir}, c.flags...)...)...)
		if err != nil || stdout != c.want {
			t.Errorf("%v %v: got %q %s, want %q", c.annotations, c.flags, stdout, stderr, c.want)
		}
		lookup(t, root, id.String())
	}
	two := ociLayout(t, mutate.AppendManifests(empty.Index,
		named(t, img, map[string]string{annotationName: "a/one:1"}),
		named(t, img, map[string]string{annotationName: "a/uno:1"}),
		named(t, makeImage(t, "linux/amd64", makeLayer(t, gzipped, types.OCILayer, "c")), map[string]string{annotationName: "a/two:1"})))
	root := t.TempDir()
	if stdout, stderr, _ := run(t, root, amd64Only("load", "-i", two)...); stdout != "Loaded image: a/one:1\nLoaded image: a/uno:1\nLoaded image: a/two:1\n" {
		t.Errorf("several: %q %s", stdout, stderr)
	}
	if _, stderr, err := run(t, root, amd64Only("load", "-i", two, "--name", "x")...); err == nil || stderr != "minictr: load "+two+": --name fits one image, but the archive has 2\n" {
		t.Errorf("--name for several: %s", stderr)
	}
}

// TestLoadPlatform: an index in a layout, and platforms side by side in the
// layout's own index.
func TestLoadPlatform(t *testing.T) {
	requireRoot(t)
	inner := makeIndex(t, "linux/arm64/v8", "linux/amd64")
	nested := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: inner, Descriptor: v1.Descriptor{Annotations: map[string]string{annotationName: "multi:1"}}})
	for form, index := range map[string]v1.ImageIndex{"nested": nested, "side by side": inner} {
		dir := ociLayout(t, index)
		for platform, want := range map[string]string{"linux/amd64": "/bin/amd64", "linux/arm64": "/bin/arm64v8"} {
			root := t.TempDir()
			if _, stderr, err := run(t, root, "load", "-i", dir, "--name", "x", "--platform", platform); err != nil {
				t.Errorf("%s: %s", form, stderr)
				continue
			}
			if image := lookup(t, root, "x"); image.Config.Cmd[0] != want {
				t.Errorf("%s for %s: %v", form, platform, image.Config.Cmd)
			}
		}
	}
}

// TestLoadFails: each kind of broken archive gives one line and changes nothing.
func TestLoadFails(t *testing.T) {
	requireRoot(t)
	img := gzipImage(t)
	layers, _ := img.Layers()
	blob, _ := layers[1].Digest()
	diffID, _ := layers[1].DiffID()
	manifest, _ := img.Digest()
	config, _ := img.ConfigName()
	layout := func(change func(dir string)) string {
		dir := ociLayout(t, mutate.AppendManifests(empty.Index, named(t, img, nil)))
		change(dir)
		return dir
	}
	blobFile := func(dir string, h v1.Hash) string { return filepath.Join(dir, "blobs/sha256", h.Hex) }
	archive := func(data []byte) string {
		file := filepath.Join(t.TempDir(), "archive")
		check(t, os.WriteFile(file, data, 0o600))
		return file
	}
	docker := dockerArchive(t, img, "x")
	content, err := os.ReadFile(blobFile(layout(func(string) {}), blob))
	check(t, err)
	for _, c := range []struct{ name, input, cause string }{
		{"blob missing", layout(func(d string) { check(t, os.Remove(blobFile(d, blob))) }), "archive does not have blob " + blob.String()},
		{"blob truncated", layout(func(d string) { check(t, os.Truncate(blobFile(d, blob), 9)) }), fmt.Sprintf("blob %s: truncated: 9 of %d bytes", blob, len(content))},
		{"blob changed", layout(func(d string) { check(t, os.WriteFile(blobFile(d, blob), make([]byte, len(content)), 0o600)) }), "blob " + blob.String() + ": digest mismatch: content is " + digestOf(make([]byte, len(content)))},
		{"blob is a link out", layout(func(d string) {
			check(t, os.Remove(blobFile(d, blob)))
			check(t, os.Symlink("/etc/passwd", blobFile(d, blob)))
		}), "path escapes from parent"},
		{"manifest changed", layout(func(d string) { check(t, os.WriteFile(blobFile(d, manifest), []byte("{}"), 0o600)) }), "manifest " + manifest.String() + ": digest mismatch: content is " + digestOf([]byte("{}"))},
		{"configuration missing", layout(func(d string) { check(t, os.Remove(blobFile(d, config))) }), "image configuration: archive does not have blob " + config.String()},
		{"index is no JSON", layout(func(d string) { check(t, os.WriteFile(d+"/index.json", []byte("nonsense"), 0o600)) }), "index.json: manifest is not JSON of the right form: invalid character 'o' in literal null (expecting 'u')"},
		{"index is empty", layout(func(d string) { check(t, os.WriteFile(d+"/index.json", []byte(`{"manifests":[]}`), 0o600)) }), "index.json: no images"},
		{"digest with a path", layout(func(d string) {
			check(t, os.WriteFile(d+"/index.json", []byte(`{"manifests":[{"digest":"sha256:../../../etc/passwd"}]}`), 0o600))
		}), "index.json: manifest is not JSON of the right form"},
		{"empty directory", t.TempDir(), "not an image archive: it has neither index.json (OCI) nor manifest.json (docker save)"},
		{"no archive", archive(bytes.Repeat([]byte("text "), 300)), "read archive: archive/tar: invalid tar header"},
		{"no file", "/nonexistent", "no such file or directory"},
		{"docker truncated", archive(docker[:len(docker)-2500]), "unexpected EOF"},
		{"docker gzip truncated", archive(gzipped(t, docker)[:600]), "unexpected EOF"},
		{"docker layer swapped", archive(rewriteManifest(t, docker, func(m *dockerImage) { m.Layers[1] = m.Layers[0] })), "add layer " + diffID.String() + ": content is"},
		{"docker layer missing", archive(rewriteManifest(t, docker, func(m *dockerImage) { m.Layers[1] = "../../etc/passwd" })), `layer "../../etc/passwd": file does not exist`},
		{"docker bad name", archive(rewriteManifest(t, docker, func(m *dockerImage) { m.RepoTags = []string{"UPPER"} })), `manifest.json: [0].RepoTags: parse image reference "UPPER": repository name must be lowercase`},
		{"docker too few layers", archive(rewriteManifest(t, docker, func(m *dockerImage) { m.Layers = m.Layers[:1] })), "manifest.json: [0]: 1 layers, but 2 in the configuration"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			stdout, stderr, err := run(t, root, amd64Only("load", "-i", c.input)...)
			first, _, _ := strings.Cut(stderr, "\n")
			if err == nil || stdout != "" || !strings.HasPrefix(first, "minictr: load "+c.input+": ") || !strings.Contains(first, c.cause) {
				t.Errorf("got  %s\nwant %s", stderr, c.cause)
			}
			if left := listStore(t, root); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// rewriteManifest changes the manifest.json of a docker archive.
func rewriteManifest(t testing.TB, archive []byte, change func(*dockerImage)) []byte {
	t.Helper()
	var b bytes.Buffer
	r, w := tar.NewReader(bytes.NewReader(archive)), tar.NewWriter(&b)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		data, err := io.ReadAll(r)
		check(t, err)
		if h.Name == "manifest.json" {
			var images []dockerImage
			check(t, json.Unmarshal(data, &images))
			change(&images[0])
			data, err = json.Marshal(images)
			check(t, err)
			h.Size = int64(len(data))
		}
		check(t, w.WriteHeader(h))
		_, err = w.Write(data)
		check(t, err)
	}
	check(t, w.Close())
	return b.Bytes()
}

// TestLoadOldDockerLinks: docker save before 25 kept a layer that occurs twice
// as a symbolic link to its first place.
func TestLoadOldDockerLinks(t *testing.T) {
	requireRoot(t)
	layer := layerTar(t, "a")
	config := fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q,%q]}}`, digestOf(layer), digestOf(layer))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct{ name, content, link string }{
		{"one/layer.tar", string(layer), ""},
		{"two/layer.tar", "", "../one/layer.tar"},
		{"loop/layer.tar", "", "layer.tar"},
		{strings.TrimPrefix(digestOf([]byte(config)), "sha256:") + ".json", config, ""},
		{"manifest.json", fmt.Sprintf(`[{"Config":"%s.json","Layers":["one/layer.tar","two/layer.tar"]}]`, strings.TrimPrefix(digestOf([]byte(config)), "sha256:")), ""},
	} {
		h := tar.Header{Name: f.name, Size: int64(len(f.content)), Typeflag: tar.TypeReg, Linkname: f.link}
		if f.link != "" {
			h.Typeflag = tar.TypeSymlink
		}
		check(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, f.content)
		check(t, err)
	}
	check(t, w.Close())
	root := t.TempDir()
	stdout, stderr, err := runWith(t, root, &b, amd64Only("load")...)
	if err != nil || stdout != "Loaded image ID: "+digestOf([]byte(config))+"\n" {
		t.Fatalf("%q %s", stdout, stderr)
	}
	if image := lookup(t, root, digestOf([]byte(config))); image.Layers[0].Dir == image.Layers[1].Dir {
		t.Error("overlay does not take one directory twice")
	}
}

// TestLoadRealBusyBox loads the published layout as a directory and as a tar.
func TestLoadRealBusyBox(t *testing.T) {
	requireRoot(t)
	dir, err := filepath.Abs("../../../shared/images/busybox-1.38.0-musl-oci")
	check(t, err)
	if _, err := os.Stat(dir); err != nil {
		t.Skip("needs the BusyBox image layout: ", err)
	}
	file := filepath.Join(t.TempDir(), "busybox.tar")
	check(t, os.WriteFile(file, tarOf(t, dir), 0o600))
	var ids []string
	for _, input := range []string{dir, file} {
		root := t.TempDir()
		stdout, stderr, err := run(t, root, amd64Only("load", "-i", input)...)
		if err != nil || stdout != "Loaded image: busybox:1.38.0-musl\n" {
			t.Fatalf("%q %s", stdout, stderr)
		}
		image := lookup(t, root, "busybox:1.38.0-musl")
		if _, err := os.Stat(image.Lower()[0] + "/bin/sh"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		ids = append(ids, image.ID)
	}
	if ids[0] != ids[1] {
		t.Errorf("ids differ: %v", ids)
	}
}

// TestImport: a tar in each compression becomes an image of one layer.
func TestImport(t *testing.T) {
	requireRoot(t)
	plain := layerTar(t, "bin/sh")
	for form, data := range map[string][]byte{"plain": plain, "gzip": gzipped(t, plain), "zstd": zstded(t, plain)} {
		root := t.TempDir()
		stdout, stderr, err := runWith(t, root, bytes.NewReader(data), "import", "-c", `CMD ["/bin/sh"]`, "--change", "ENV A=b", "-m", "by hand", "-", "my/root:1")
		if err != nil {
			t.Fatalf("%s: %s", form, stderr)
		}
		image := lookup(t, root, "my/root:1")
		if stdout != image.ID+"\n" || image.Layers[0].DiffID != digestOf(plain) {
			t.Errorf("%s: %q, %+v", form, stdout, image)
		}
		if diff := cmp.Diff(rootfs.Config{Architecture: (&platformFlag{}).hostArch(), OS: "linux", Cmd: []string{"/bin/sh"}, Env: []string{"A=b"}}, image.Config); diff != "" {
			t.Errorf("%s: %s", form, diff)
		}
	}
}

func TestImportFails(t *testing.T) {
	requireRoot(t)
	for _, c := range []struct {
		args  []string
		stdin string
		want  string
	}{
		{[]string{"-", "UPPER"}, "", `minictr: parse image reference "UPPER": repository name must be lowercase`},
		{[]string{"-c", "RUN x", "-"}, "", `minictr: apply change "RUN x": unknown instruction "RUN"`},
		{[]string{"/none"}, "", "minictr: import /none: no such file or directory"},
		{[]string{"-"}, "\xfd7zXZ\x00 and so on", "minictr: import standard input: add layer: xz: this compression is not supported"},
		{[]string{"-"}, strings.Repeat("no tar", 200), "minictr: import standard input: add layer: read layer: archive/tar: invalid tar header"},
		{[]string{"-"}, string(layerTar(t, "../../out")), "minictr: import standard input: add layer: unpack ../../out: path leads out of the root"},
		{[]string{"-"}, string(gzipped(t, layerTar(t, "a", "b")))[:40], "minictr: import standard input: add layer: read layer: gzip: unexpected EOF"},
		{[]string{"-"}, "", "minictr: import standard input: add layer: read layer: unexpected EOF: without the mark of an archive's end"},
		{[]string{"-"}, string(layerTar(t, "a", "b"))[:1024], "minictr: import standard input: add layer: read layer: unexpected EOF: without the mark of an archive's end"},
		{[]string{"/"}, "", "minictr: import /: is a directory"},
	} {
		root := t.TempDir()
		_, stderr, err := runWith(t, root, strings.NewReader(c.stdin), append([]string{"import"}, c.args...)...)
		first, _, _ := strings.Cut(stderr, "\n")
		if err == nil || first != c.want {
			t.Errorf("got  %s\nwant %s", stderr, c.want)
		}
		if left := listStore(t, root); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// TestImportRealAlpine makes the image that Docker Hub has, from its one layer.
func TestImportRealAlpine(t *testing.T) {
	requireRoot(t)
	const file = "../../../shared/images/alpine-minirootfs-3.20.3-x86_64.tar.gz"
	if _, err := os.Stat(file); err != nil {
		t.Skip("needs the Alpine root file system: ", err)
	}
	root := t.TempDir()
	if _, stderr, err := run(t, root, "import", "-c", `CMD ["/bin/sh"]`, file, "alpine:3.20.3"); err != nil {
		t.Fatal(stderr)
	}
	image := lookup(t, root, "alpine:3.20.3")
	if st, err := os.Stat(image.Lower()[0] + "/bin/busybox"); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", st, err)
	}
}

func TestApplyChange(t *testing.T) {
	var c v1.Config
	for _, change := range []string{
		`CMD ["/bin/sh","-c","x y"]`, `ENTRYPOINT exec top -b`, `ENV A=1 B="two words" C=\"q`, `ENV A again and again`, `env D='x'`,
		`EXPOSE 80 53/udp 9000-9001/tcp`, `VOLUME ["/data", "/more"]`, `VOLUME /third`, `LABEL a.b="c d" e=f`,
		`USER www:www`, `WORKDIR /srv`, `WORKDIR sub/../x`, `STOPSIGNAL SIGQUIT`, `ONBUILD RUN x`,
	} {
		check(t, applyChange(&c, change))
	}
	want := v1.Config{
		Cmd: []string{"/bin/sh", "-c", "x y"}, Entrypoint: []string{"/bin/sh", "-c", "exec top -b"},
		Env:          []string{"B=two words", `C="q`, "A=again and again", "D=x"},
		ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}, "9000-9001/tcp": {}},
		Volumes:      map[string]struct{}{"/data": {}, "/more": {}, "/third": {}},
		Labels:       map[string]string{"a.b": "c d", "e": "f"},
		User:         "www:www", WorkingDir: "/srv/x", StopSignal: "SIGQUIT", OnBuild: []string{"RUN x"},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	for change, cause := range map[string]string{
		"": `unknown instruction ""`, "CMD": "CMD needs an argument", `ENV A="x`: "quote without an end", "ENV A=1 B": `"B": must be NAME=VALUE`,
		"EXPOSE http": `port "http": must be PORT[-PORT][/tcp|udp|sctp]`,
	} {
		if err := applyChange(&c, change); err == nil || err.Error() != cause {
			t.Errorf("%q: got %v, want %s", change, err, cause)
		}
	}
}
