package rootfs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const someDigest = "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

// The cases are those of distribution/reference's own tests (normalize_test.go,
// reference_test.go), which are the public facts about the grammar.
func TestParseReference(t *testing.T) {
	longest := strings.Repeat("a/", 127) + "a"
	for _, c := range []struct {
		name     string
		want     Reference
		familiar string
	}{
		{"alpine", Reference{"docker.io", "library/alpine", "latest", ""}, "alpine:latest"},
		{"alpine:3.20", Reference{"docker.io", "library/alpine", "3.20", ""}, "alpine:3.20"},
		{"library/alpine", Reference{"docker.io", "library/alpine", "latest", ""}, "alpine:latest"},
		{"docker.io/alpine", Reference{"docker.io", "library/alpine", "latest", ""}, "alpine:latest"},
		{"index.docker.io/alpine", Reference{"docker.io", "library/alpine", "latest", ""}, "alpine:latest"},
		{"index.docker.io/library/alpine", Reference{"docker.io", "library/alpine", "latest", ""}, "alpine:latest"},
		{"docker.io/library/foo/bar", Reference{"docker.io", "library/foo/bar", "latest", ""}, "library/foo/bar:latest"},
		{"user/repo", Reference{"docker.io", "user/repo", "latest", ""}, "user/repo:latest"},
		{"localhost/repo", Reference{"localhost", "repo", "latest", ""}, "localhost/repo:latest"},
		{"localhost:5000/repo", Reference{"localhost:5000", "repo", "latest", ""}, "localhost:5000/repo:latest"},
		{"127.0.0.1:5000/docker/docker", Reference{"127.0.0.1:5000", "docker/docker", "latest", ""}, "127.0.0.1:5000/docker/docker:latest"},
		{"[2001:db8::1]:5000/repo:tag", Reference{"[2001:db8::1]:5000", "repo", "tag", ""}, "[2001:db8::1]:5000/repo:tag"},
		{"[fd00::1]/repo", Reference{"[fd00::1]", "repo", "latest", ""}, "[fd00::1]/repo:latest"},
		{"test.com:8000/repo:tag@" + someDigest, Reference{"test.com:8000", "repo", "tag", someDigest}, "test.com:8000/repo:tag@" + someDigest},
		{"alpine@" + someDigest, Reference{"docker.io", "library/alpine", "", someDigest}, "alpine@" + someDigest},
		{"xn--n3h.com/myimage:xn--n3h.com", Reference{"xn--n3h.com", "myimage", "xn--n3h.com", ""}, "xn--n3h.com/myimage:xn--n3h.com"},
		{"foo/foo_bar.com:8080", Reference{"docker.io", "foo/foo_bar.com", "8080", ""}, "foo/foo_bar.com:8080"},
		{"Foo/bar", Reference{"Foo", "bar", "latest", ""}, "Foo/bar:latest"},
		{"foo--bar/a__b/c.d", Reference{"docker.io", "foo--bar/a__b/c.d", "latest", ""}, "foo--bar/a__b/c.d:latest"},
		{"docker.io/1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a", Reference{"docker.io", "library/1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a", "latest", ""}, "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a:latest"},
		{longest, Reference{"docker.io", longest, "latest", ""}, longest + ":latest"},
		{"repo:" + strings.Repeat("t", 128), Reference{"docker.io", "library/repo", strings.Repeat("t", 128), ""}, "repo:" + strings.Repeat("t", 128)},
	} {
		got, err := ParseReference(c.name)
		if err != nil {
			t.Errorf("ParseReference(%q): %v", c.name, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("ParseReference(%q) (-want +got):\n%s", c.name, diff)
		}
		if got.Familiar() != c.familiar {
			t.Errorf("%q: familiar %q, want %q", c.name, got.Familiar(), c.familiar)
		}
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for _, c := range []struct{ name, cause string }{
		{"", "name is empty"},
		{"UPPER", "repository name must be lowercase"},
		{"docker.io/Alpine", "repository name must be lowercase"},
		{"aa/asdf$$^/aa", `repository name component "asdf$$^": only a-z, 0-9, and between them one of . _ __ or dashes`},
		{":justtag", "repository name is empty"},
		{"@" + someDigest, "repository name is empty"},
		{"repo@sha256:ffff", `digest "sha256:ffff": sha256 has 64 lower-case hexadecimal digits`},
		{"repo@md5:ffffffffffffffffffffffffffffffff", `digest "md5:ffffffffffffffffffffffffffffffff": unknown algorithm`},
		{"repo@sha256", `digest "sha256": not of the form sha256:<64 hexadecimal digits>`},
		{"a//b", "repository name has an empty component"},
		{"a/", "repository name has an empty component"},
		{"-foo/bar", `repository name component "-foo": only a-z, 0-9, and between them one of . _ __ or dashes`},
		{"foo-/bar", `repository name component "foo-": only a-z, 0-9, and between them one of . _ __ or dashes`},
		{"foo/a___b", `repository name component "a___b": only a-z, 0-9, and between them one of . _ __ or dashes`},
		{"a..b", `repository name component "a..b": only a-z, 0-9, and between them one of . _ __ or dashes`},
		{"a:", "tag is empty"},
		{"a:.b", `tag ".b": only letters, digits, _ . and -, and no . or - in front`},
		{"a:b/c", `registry "a:b": port must be a number`},
		{"a:b:c", `tag "b:c": only letters, digits, _ . and -, and no . or - in front`},
		{"repo:" + strings.Repeat("t", 129), "tag is longer than 128 bytes"},
		{strings.Repeat("a/", 128) + "a", "repository name is longer than 255 bytes"},
		{"foo_bar.com:8080/x", `registry "foo_bar.com:8080": not a host name`},
		{"-a.com/x", `registry "-a.com": not a host name`},
		{"[fe80::1%eth0]:5000/x", `registry "[fe80::1%eth0]:5000": not an IPv6 address in brackets`},
		{strings.Repeat("a1b2", 16), "64 hexadecimal digits are an image id, not a repository name"},
	} {
		_, err := ParseReference(c.name)
		want := "parse image reference " + `"` + c.name + `": ` + c.cause
		if err == nil || err.Error() != want {
			t.Errorf("ParseReference(%q)\n got %v\nwant %s", c.name, err, want)
		}
	}
}

// FuzzParseReference: an error, or a reference that prints in both forms as
// something that parses to the same.
func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"alpine", "localhost:5000/a:b", "[::1]:5/x@" + someDigest, "a/b__c--d.e", "UPPER/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		r, err := ParseReference(name)
		if err != nil {
			if r != (Reference{}) {
				t.Fatalf("%q: both %v and error %v", name, r, err)
			}
			return
		}
		for _, form := range []string{r.String(), r.Familiar()} {
			again, err := ParseReference(form)
			if err != nil || again != r {
				t.Fatalf("%q -> %q -> %v, %v", name, form, again, err)
			}
		}
	})
}
