package registry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minictr/minictr/rootfs"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, file, text string) string {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(file), 0o755))
	check(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func parseReference(t testing.TB, name string) rootfs.Reference {
	t.Helper()
	ref, err := rootfs.ParseReference(name)
	check(t, err)
	return ref
}

// TestEndpoints: which places a name means. The first rows are the examples of
// containers-registries.conf(5).
func TestEndpoints(t *testing.T) {
	file := write(t, t.TempDir()+"/registries.conf", `
unqualified-search-registries = ["elsewhere.example"]
short-name-mode = "enforcing"

[[registry]]
prefix = "example.com/foo"
location = "internal-registry-for-example.com/bar"
[[registry.mirror]]
location = "example-mirror-0.local/mirror-for-foo"
[[registry.mirror]]
location = "example-mirror-1.local/mirrors/foo/"
insecure = true

[[registry]]
location = "registry.com"
[[registry.mirror]]
location = "mirror.registry.com"

[[registry]]
prefix = "docker.io"
location = "docker.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "hub.local:5000/hub"

[[registry]]
prefix = "example.com/foo/bad"
blocked = true

[[registry]]
prefix = "*.wild.example"
insecure = true

[[registry]]
prefix = "one.wild.example"

[[registry]]
prefix = "*.moved.example"
location = "here.example/old"

[[registry]]
location = "mixed.example"
[[registry.mirror]]
location = "t.example"
pull-from-mirror = "tag-only"
[[registry.mirror]]
location = "d.example"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "a.example"
pull-from-mirror = "all"

[[registry]]
prefix = "tagged.example/a:old"
location = "attic.example/a"

[[registry]]
prefix = "nameless.example/a/b"
location = "x.example"

[[registry]]
prefix = "tagged.example/b:1"
insecure = true
`)
	c, err := LoadConfig(file)
	check(t, err)
	digest := "@sha256:" + strings.Repeat("0", 64)
	for name, want := range map[string]string{
		"example.com/foo/image":          "example-mirror-0.local/mirror-for-foo/image example-mirror-1.local/mirrors/foo/image(insecure) internal-registry-for-example.com/bar/image",
		"example.com/foo":                "example-mirror-0.local/mirror-for-foo example-mirror-1.local/mirrors/foo(insecure) internal-registry-for-example.com/bar",
		"registry.com/image":             "mirror.registry.com/image registry.com/image",
		"registry.com:5000/image":        "registry.com:5000/image",
		"example.com/foobar":             "example.com/foobar",
		"example.com/foo/bad":            `example.com/foo/bad is blocked by prefix "example.com/foo/bad" in ` + file,
		"example.com/foo/bad/x":          `example.com/foo/bad/x is blocked by prefix "example.com/foo/bad" in ` + file,
		"example.com/foo/badly":          "example-mirror-0.local/mirror-for-foo/badly example-mirror-1.local/mirrors/foo/badly(insecure) internal-registry-for-example.com/bar/badly",
		"alpine":                         "docker.io/library/alpine",
		"alpine" + digest:                "hub.local:5000/hub/library/alpine docker.io/library/alpine",
		"a.wild.example/x":               "a.wild.example/x(insecure)",
		"b.a.wild.example/x/y":           "b.a.wild.example/x/y(insecure)",
		"one.wild.example/x":             "one.wild.example/x",
		"wild.example/x":                 "wild.example/x",
		"notwild.example/x":              "notwild.example/x",
		"a.moved.example/x/y":            "here.example/old/x/y",
		"mixed.example/x":                "t.example/x a.example/x mixed.example/x",
		"mixed.example/x" + digest:       "d.example/x a.example/x mixed.example/x",
		"tagged.example/a:old":           "attic.example/a",
		"tagged.example/a:new":           "tagged.example/a",
		"tagged.example/b:1":             "tagged.example/b(insecure)",
		"nameless.example/a/b/c":         "x.example/c",
		"nameless.example/a/b":           `prefix "nameless.example/a/b" in ` + file + " moves nameless.example/a/b to x.example, which leaves it no name",
		"untouched.example:5000/x/y/z:1": "untouched.example:5000/x/y/z",
	} {
		endpoints, err := c.endpointsFor(parseReference(t, name))
		if got := describe(endpoints, err); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"example.com/foo/image": "example.com/foo/image", // not redirected
		"a.wild.example/x":      "a.wild.example/x(insecure)",
		"example.com/foo/bad":   `example.com/foo/bad is blocked by prefix "example.com/foo/bad" in ` + file,
		"plain.example/x":       "plain.example/x",
	} {
		e, err := c.endpointToPush(parseReference(t, name))
		if got := describe([]endpoint{e}, err); got != want {
			t.Errorf("push %s:\n got %s\nwant %s", name, got, want)
		}
	}
	for host, want := range map[string]bool{"example-mirror-1.local/mirrors/foo": true, "a.wild.example": true, "registry.com": false, "wild.example": false, "": false} {
		if c.insecureHost(host) != want {
			t.Errorf("insecureHost(%q) is %v", host, !want)
		}
	}
}

func describe(list []endpoint, err error) string {
	if err != nil {
		return err.Error()
	}
	var words []string
	for _, e := range list {
		word := e.shown + "/" + e.path
		if e.insecure {
			word += "(insecure)"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestConfigErrors(t *testing.T) {
	for text, want := range map[string]string{
		"[[registry]\n":                                                                          "line 2: ",
		"\n\n[[registry]]\nprefix = 3\n":                                                         "toml: line 4 ",
		"[registries.search]\nregistries = ['a']":                                                "[registries]: version 1 of the format is not supported",
		"[[registry]]":                                                                           "registry[0].prefix: is empty",
		"[[registry]]\nprefix='a.b'\n[[registry]]\nprefix='a.b/'":                                `registry[1].prefix: "a.b" stands here twice`,
		"[[registry]]\nlocation='https://a.b'":                                                   `registry[0].prefix: "https://a.b": must be HOST[:PORT][/PATH], without a scheme`,
		"[[registry]]\nprefix='a.b'\nlocation='https://a.b'":                                     `registry[0].location: "https://a.b": must be HOST[:PORT][/PATH], without a scheme`,
		"[[registry]]\nprefix='a.*.b'":                                                           `registry[0].prefix: "a.*.b": must be HOST[:PORT][/PATH]`,
		"[[registry]]\nprefix='*.a.b/c'":                                                         `registry[0].prefix: "*.a.b/c": a wildcard is *.HOST, with nothing behind`,
		"[[registry]]\nprefix='a.b'\nlocation='a.b/c:1'":                                         `registry[0].location: "a.b/c:1": must be without tag and digest`,
		"[[registry]]\nprefix='a.b'\n[[registry.mirror]]":                                        "registry[0].mirror[0].location: is empty",
		"[[registry]]\nprefix='a.b'\n[[registry.mirror]]\nlocation='x/y z'":                      `registry[0].mirror[0].location: "x/y z": must be HOST[:PORT][/PATH]`,
		"[[registry]]\nprefix='a.b'\n[[registry.mirror]]\nlocation='x'\npull-from-mirror='some'": `registry[0].mirror[0].pull-from-mirror: "some": must be all, digest-only or tag-only`,
		"[[registry]]\nprefix='a.b'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='x'\npull-from-mirror='all'": "registry[0].mirror[0].pull-from-mirror: cannot be beside mirror-by-digest-only",
	} {
		if _, err := parseConfig(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
	if _, err := LoadConfig("/nonexistent/registries.conf"); err == nil || err.Error() != "open /nonexistent/registries.conf: no such file or directory" {
		t.Error(err)
	}
}

// TestConfigFiles: the first file counts, with its drop-ins, of which a later
// one replaces tables of the same prefix.
func TestConfigFiles(t *testing.T) {
	dir := t.TempDir()
	first, second := dir+"/one/registries.conf", dir+"/two/registries.conf"
	places := func() string {
		t.Helper()
		var c Config
		check(t, c.addFirst([]string{first, second}))
		var words []string
		for _, r := range c.rules {
			words = append(words, r.Prefix+">"+r.Location)
		}
		return strings.Join(words, " ")
	}
	steps := []struct{ file, text, want string }{
		{"", "", ""},
		{second + ".d/b.conf", "[[registry]]\nprefix='a.b'\nlocation='second-b'", "a.b>second-b"},
		{second + ".d/a.conf", "[[registry]]\nprefix='a.b'\nlocation='second-a'\n[[registry]]\nlocation='x.y'", "x.y>x.y a.b>second-b"},
		{second + ".d/c.toml", "not TOML", "x.y>x.y a.b>second-b"},
		{second, "[[registry]]\nlocation='z'", "z>z x.y>x.y a.b>second-b"},
		{first, "", ""},
	}
	for _, s := range steps {
		if s.file != "" {
			write(t, s.file, s.text)
		}
		if got := places(); got != s.want {
			t.Errorf("with %s: %q, want %q", s.file, got, s.want)
		}
	}
}

// FuzzConfig: an error, or tables all of which can be used.
func FuzzConfig(f *testing.F) {
	f.Add("[[registry]]\nprefix='*.a.b'\nlocation='c/d'\n[[registry.mirror]]\nlocation='m'", "x.a.b/c/d:1")
	f.Add("[[registry]]\nlocation='docker.io'\nblocked=true", "alpine")
	f.Add("[[registry]]\nprefix='a.b/c:1'", "a.b/c:1")
	f.Fuzz(func(t *testing.T, text, name string) {
		rules, err := parseConfig(text)
		ref, refErr := rootfs.ParseReference(name)
		if err != nil || refErr != nil {
			return
		}
		endpoints, err := (&Config{rules: rules}).endpointsFor(ref)
		if err != nil {
			return
		}
		for _, e := range endpoints {
			if e.host == "" || strings.ContainsAny(e.host, "/*@ ") || e.path == "" || strings.ContainsAny(e.path, ":@") {
				t.Errorf("%s becomes %+v", name, e)
			}
		}
	})
}

func TestParseServer(t *testing.T) {
	for server, want := range map[string]string{
		"": "docker.io", "docker.io": "docker.io", "https://index.docker.io/v1/": "docker.io", "registry-1.docker.io": "docker.io",
		"localhost:5000": "localhost:5000", "https://reg.example/": "reg.example", "[::1]:5000": "[::1]:5000",
		"a.b/c": "!", "a b": "!", "https://": "!", "u@h": "!", "a?b": "!",
	} {
		got, err := ParseServer(server)
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", server, got, want)
		}
	}
}

func TestChallenges(t *testing.T) {
	p := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for text, want := range map[string][]challenge{
		"":                   nil,
		"Basic":              {{"basic", p()}},
		`Basic realm="a, b"`: {{"basic", p("realm", "a, b")}},
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"`: {{"bearer", p("realm", "https://auth.docker.io/token", "service", "registry.docker.io", "scope", "repository:a/b:pull,push")}},
		`Negotiate, BASIC Realm = x , Bearer realm="\"q\\",`:                                                        {{"negotiate", p()}, {"basic", p("realm", "x")}, {"bearer", p("realm", `"q\`)}},
		`realm="x"`:       nil,
		`Basic realm="x`:  {{"basic", p()}},
		`Basic realm="x\`: {{"basic", p()}},
		`Basic realm=;`:   {{"basic", p()}},
		`Basic ;, Bearer`: {{"basic", p()}},
	} {
		if diff := cmp.Diff(want, parseChallenges(text), cmp.AllowUnexported(challenge{})); diff != "" {
			t.Errorf("%s:\n%s", text, diff)
		}
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Basic realm="a", Bearer realm="b\"",service=c`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range parseChallenges(text) {
			if c.scheme == "" || c.parameters == nil {
				t.Errorf("%q: %+v", text, c)
			}
		}
	})
}
