package main

import (
	"fmt"
	"strings"
	"testing"
)

// A hostileArchive is an attack by the files of an image archive, with the error
// that it ends with as a tar and as a directory; without one that form is left
// out.
type hostileArchive struct {
	name           string
	make           func(t testing.TB, p parts)
	tar, directory string
}

func hostileArchives() []hostileArchive {
	var all []hostileArchive
	all = append(all, hostileFiles()...)
	all = append(all, hostileManifests()...)
	return append(all, hostileSizes()...)
}

// hostileFiles are files that are not what they should be.
func hostileFiles() []hostileArchive {
	index := func(value string) func(testing.TB, parts) {
		return func(t testing.TB, p parts) {
			p.image(t)
			p["index.json"] = value
		}
	}
	// layerAs replaces the layer of a good image.
	layerAs := func(value string) func(testing.TB, parts) {
		return func(t testing.TB, p parts) {
			_, layer, manifest := p.image(t)
			p["index.json"] = `{"manifests":[` + manifest + `]}`
			p[blobs+layer[len(`{"digest":"sha256:`):][:64]] = value
		}
	}
	return []hostileArchive{
		{"index is a fifo", index(":fifo"), "neither index.json", "index.json: not a regular file"},
		{"index is a directory", index(":directory"), "neither index.json", "index.json: not a regular file"},
		{"index is a link out", index(":link ../../../../../../../../etc/passwd"), "neither index.json", "index.json: path escapes from parent"},
		{"index is an absolute link", index(":link /etc/passwd"), "neither index.json", "index.json: path escapes from parent"},
		{"index is a link to itself", index(":link index.json"), "neither index.json", "index.json: "},
		{"index is a hard link out", index(":hard ../../../etc/passwd"), "neither index.json", ""},
		{"index is a hard link to itself", index(":hard index.json"), "neither index.json", ""},
		{"index is a hard link to a blob of JSON", func(t testing.TB, p parts) {
			p["other"] = `{"manifests":[]}`
			p["index.json"] = ":hard other"
		}, "index.json: no images", ""},
		{"layer is a fifo", layerAs(":fifo"), "archive does not have blob", "not a regular file"},
		{"layer is a link out", layerAs(":link /etc/passwd"), "archive does not have blob", "path escapes from parent"},
		{"layer is a device's link", layerAs(":link /dev/zero"), "archive does not have blob", "path escapes from parent"},
		{"blobs are a link out", func(t testing.TB, p parts) {
			_, _, manifest := p.image(t)
			clear(p)
			p["index.json"], p["blobs"] = `{"manifests":[`+manifest+`]}`, ":link /tmp"
		}, "archive does not have blob", "path escapes from parent"},
		{"layers of docker save outside", func(t testing.TB, p parts) {
			p["c.json"] = `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + digestOf(nil) + `"]}}`
			p["manifest.json"] = `[{"Config":"c.json","Layers":["../../../../../../../../etc/passwd"]}]`
		}, `layer "../../../../../../../../etc/passwd": file does not exist`, `layer "../../../../../../../../etc/passwd": path escapes from parent`},
		{"configuration of docker save outside", func(t testing.TB, p parts) {
			p["manifest.json"] = `[{"Config":"/etc/passwd","Layers":[]}]`
		}, `configuration "/etc/passwd": file does not exist`, `configuration "/etc/passwd": `},
		{"name that steers the terminal", func(t testing.TB, p parts) {
			_, _, manifest := p.image(t)
			entry := strings.TrimSuffix(manifest, "}") + `,"annotations":{"io.containerd.image.name":"\u001b]0;x\u0007\u009b31m\n/x"}}`
			p["index.json"] = `{"manifests":[` + entry + `]}`
		}, "parse image reference ", "parse image reference "},
		{"layer of docker save that steers the terminal", func(t testing.TB, p parts) {
			p["c.json"] = `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + digestOf(nil) + `"]}}`
			p["manifest.json"] = `[{"Config":"c.json","Layers":["\u001b[2J\u009b31m"]}]`
		}, `layer "\x1b[2J\u009b31m": file does not exist`, `layer "\x1b[2J\u009b31m": `},
	}
}

// hostileManifests are documents that mean two things, or lead elsewhere.
func hostileManifests() []hostileArchive {
	// with makes the layout of one manifest, from the parts of a good one.
	with := func(manifest func(p parts, config, layer, good string) string) func(testing.TB, parts) {
		return func(t testing.TB, p parts) {
			config, layer, good := p.image(t)
			p["index.json"] = index(p.add(manifest(p, config, layer, good)))
		}
	}
	both := func(name, manifest, cause string) hostileArchive {
		return hostileArchive{name, with(func(_ parts, config, layer, good string) string {
			return strings.NewReplacer("CONFIG", config, "LAYER", layer, "GOOD", good).Replace(manifest)
		}), cause, cause}
	}
	config := func(name, text, cause string) hostileArchive {
		return hostileArchive{name, with(func(p parts, _, layer, _ string) string {
			return imageManifest(p.add(text), layer)
		}), cause, cause}
	}
	const ambiguous = "manifest is both that of an image and an index"
	return []hostileArchive{
		// CVE-2021-41190
		both("image and index", `{"schemaVersion":2,"config":CONFIG,"layers":[LAYER],"manifests":[GOOD]}`, ambiguous),
		both("layers and index", `{"schemaVersion":2,"layers":[],"manifests":[GOOD]}`, ambiguous),
		both("configuration and index", `{"schemaVersion":2,"config":CONFIG,"manifests":[]}`, ambiguous),
		both("image that says it is an index", `{"mediaType":"application/vnd.oci.image.index.v1+json","config":CONFIG,"layers":[LAYER]}`, "manifest says that it is application/vnd.oci.image.index.v1+json, which it is not"),
		both("index that says it is an image", `{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","manifests":[GOOD]}`, "manifest says that it is application/vnd.docker.distribution.manifest.v2+json, which it is not"),
		both("schema 1 and index", `{"schemaVersion":2,"fsLayers":[],"manifests":[GOOD]}`, "schema 1"),
		both("digest with a path", `{"config":{"digest":"sha256:../../../../etc/passwd","size":1},"layers":[]}`, "manifest is not JSON of the right form"),
		both("digest of a layer with a path", `{"config":CONFIG,"layers":[{"digest":"sha256:../x","size":1}]}`, "manifest is not JSON of the right form"),
		both("digest of another kind", `{"config":{"digest":"md5:d41d8cd98f00b204e9800998ecf8427e","size":1},"layers":[]}`, "manifest is not JSON of the right form"),
		both("digest in capitals", `{"config":{"digest":"sha256:`+strings.Repeat("AB", 32)+`","size":1},"layers":[]}`, "manifest is not JSON of the right form"),
		both("no digest", `{"config":{"digest":"","size":1},"layers":[]}`, "manifest is"),
		both("layers without end", `{"config":CONFIG,"layers":[LAYER,LAYER]}`, "manifest has 2 layers, configuration 1"),
		{"index in an index in an index", with(func(p parts, _, _, good string) string {
			for range 4 {
				good = p.add(index(good))
			}
			return index(good)
		}), "an index in an index in an index", "an index in an index in an index"},
		{"index that lies about its entry", with(func(_ parts, _, _, good string) string {
			return index(strings.TrimSuffix(good, "}") + `,"mediaType":"application/vnd.oci.image.index.v1+json"}`)
		}), "the index says that it is application/vnd.oci.image.index.v1+json, which it is not", "the index says that it is application/vnd.oci.image.index.v1+json, which it is not"},
		{"ten thousand lists in lists", with(func(p parts, config, _, _ string) string {
			return `{"config":` + config + `,"layers":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + "}"
		}), "manifest is not JSON of the right form", "manifest is not JSON of the right form"},
		config("diff id with a path", `{"rootfs":{"type":"layers","diff_ids":["sha256:../../x"]}}`, `rootfs.diff_ids[0]: digest "sha256:../../x"`),
		config("diff id of another kind", `{"rootfs":{"type":"layers","diff_ids":["sha512:`+strings.Repeat("ab", 64)+`"]}}`, "only sha256 is supported"),
		config("diff id that steers the terminal", `{"rootfs":{"type":"layers","diff_ids":["sha256:\u001b[2J\u009b"]}}`, `digest "sha256:\x1b[2J\u009b"`),
		config("diff id of another layer", `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["`+digestOf([]byte("x"))+`"]}}`, "digest mismatch"),
		config("one layer a thousand times", `{"rootfs":{"type":"layers","diff_ids":["`+strings.Repeat(digestOf(nil)+`","`, 999)+digestOf(nil)+`"]}}`, "rootfs.diff_ids: 1000 layers, more than 500"),
		config("configuration for another system", `{"os":"win\u001b[2Jdows","rootfs":{"type":"layers","diff_ids":["`+digestOf(nil)+`"]}}`, `os: image is for "win\x1b[2Jdows", not for linux`),
		config("volumes that are a list", `{"config":{"Volumes":["/a"]},"rootfs":{"type":"layers","diff_ids":["`+digestOf(nil)+`"]}}`, "cannot unmarshal array"),
	}
}

// hostileSizes are sizes that lie, and numbers that are meant to exhaust.
func hostileSizes() []hostileArchive {
	sized := func(name string, change func(config, layer string) (string, string), cause string) hostileArchive {
		return hostileArchive{name, func(t testing.TB, p parts) {
			config, layer, _ := p.image(t)
			p["index.json"] = index(p.add(imageManifest(change(config, layer))))
		}, cause, cause}
	}
	resize := func(descriptor, size string) string {
		return descriptor[:strings.Index(descriptor, `"size":`)] + `"size":` + size + "}"
	}
	return []hostileArchive{
		sized("configuration that says 1 GB", func(c, l string) (string, string) { return resize(c, "1073741824"), l }, "image configuration: larger than 4194304 bytes"),
		sized("configuration of less than nothing", func(c, l string) (string, string) { return resize(c, "-1"), l }, "digest mismatch"),
		sized("configuration that is longer", func(c, l string) (string, string) { return resize(c, "10"), l }, "digest mismatch"),
		sized("configuration that is shorter", func(c, l string) (string, string) { return resize(c, "4000"), l }, "truncated"),
		sized("layer that is longer", func(c, l string) (string, string) { return c, resize(l, "100") }, "digest mismatch"),
		sized("layer that is shorter", func(c, l string) (string, string) { return c, resize(l, "99999") }, "truncated"),
		sized("layer of less than nothing", func(c, l string) (string, string) { return c, resize(l, "-5") }, "digest mismatch"),
		sized("layer as large as numbers go", func(c, l string) (string, string) { return c, resize(l, "9223372036854775807") }, "truncated"),
		sized("layer larger than numbers go", func(c, l string) (string, string) { return c, resize(l, "9223372036854775808") }, "manifest is not JSON of the right form"),
		{"index of 5 MB", func(t testing.TB, p parts) {
			p["index.json"] = strings.Repeat(" ", 5<<20)
		}, "index.json: larger than 4194304 bytes", "index.json: larger than 4194304 bytes"},
		{"configuration of 5 MB", func(t testing.TB, p parts) {
			_, layer, _ := p.image(t)
			p["index.json"] = index(p.add(imageManifest(p.add(strings.Repeat(" ", 5<<20)), layer)))
		}, "image configuration: larger than 4194304 bytes", "image configuration: larger than 4194304 bytes"},
		{"one large configuration under a thousand names", func(t testing.TB, p parts) {
			layer := string(layerTar(t, "a"))
			config := fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q]},"config":{"Labels":{"a":%q}}}`, digestOf([]byte(layer)), strings.Repeat("x", 1<<20))
			manifest := strings.TrimSuffix(p.add(imageManifest(p.add(config), p.add(layer))), "}")
			var entries []string
			for i := range 1000 {
				entries = append(entries, manifest+fmt.Sprintf(`,"annotations":{"io.containerd.image.name":"x:%d"}}`, i))
			}
			p["index.json"] = index(entries...)
		}, "archive has more than 67108864 bytes of manifests and configurations", "archive has more than 67108864 bytes of manifests and configurations"},
		{"twenty thousand images of docker save", func(t testing.TB, p parts) {
			p["c"] = `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + digestOf(nil) + `"]}}`
			p["manifest.json"] = "[" + strings.Repeat(`{"Config":"c","Layers":["l"]},`, 20_000) + `{"Config":"c","Layers":["l"]}]`
		}, "manifest.json: [10000]: archive names more than 10000 images", "manifest.json: [10000]: archive names more than 10000 images"},
	}
}
