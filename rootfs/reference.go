package rootfs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/minictr/minictr/runtime/step"
)

// Reference names an image: a registry, a repository in it, and a tag or a
// digest of it. ParseReference fills every blank the way Docker does.
//
//	docker.io/library/alpine:3.20@sha256:d4e6fd…
//	└─Domain┘ └────Path────┘ Tag  └───Digest───┘
type Reference struct {
	Domain string // registry host, with a port where one is given: "docker.io", "localhost:5000"
	Path   string // repository: "library/alpine"
	Tag    string // "latest"; empty when only a digest is given
	Digest string // "sha256:<64 hex>", or empty
}

// The registry and the name space that are meant when a name has none, and the
// tag that is meant when it has neither tag nor digest.
const (
	defaultDomain    = "docker.io"
	legacyDomain     = "index.docker.io"
	defaultNamespace = "library/"
	defaultTag       = "latest"
)

const (
	maxRepositoryBytes = 255 // distribution/reference, RepositoryNameTotalLengthMax
	maxTagBytes        = 128
)

// ParseReference reads an image name as a user types it ("alpine",
// "user/repo:tag", "localhost:5000/a/b@sha256:…") and returns it with every
// blank filled. Grammar and limits are those of distribution/reference v0.6,
// whose package costs 1.3 ms of start-up; one thing is stricter: a registry
// host that is no host name is refused instead of being read as a repository.
// The error says what is wrong with the name.
func ParseReference(name string) (Reference, error) {
	r, err := parseReference(name)
	if err != nil {
		return Reference{}, step.Fail("parse image reference", strconv.Quote(name), err)
	}
	return r, nil
}

// String is the full form: docker.io/library/alpine:latest.
func (r Reference) String() string { return r.suffixed(r.Repository()) }

// Repository is the reference without tag and digest: docker.io/library/alpine.
func (r Reference) Repository() string { return r.Domain + "/" + r.Path }

// Familiar is the shortest form that means the same repository, as Docker
// prints it: alpine:latest.
func (r Reference) Familiar() string {
	if r.Domain != defaultDomain {
		return r.String()
	}
	path, official := strings.CutPrefix(r.Path, defaultNamespace)
	if !official || strings.Contains(path, "/") {
		path = r.Path
	}
	return r.suffixed(path)
}

// Key is the form under which the store files the reference: a digest says all,
// so that a tag beside it is left out, as Docker does.
func (r Reference) Key() string {
	if r.Digest != "" {
		r.Tag = ""
	}
	return r.String()
}

func (r Reference) suffixed(name string) string {
	if r.Tag != "" {
		name += ":" + r.Tag
	}
	if r.Digest != "" {
		name += "@" + r.Digest
	}
	return name
}

func parseReference(name string) (Reference, error) {
	if name == "" {
		return Reference{}, errors.New("name is empty")
	}
	if isHex(name) && len(name) == 64 {
		return Reference{}, errors.New("64 hexadecimal digits are an image id, not a repository name")
	}
	var r Reference
	rest := name
	r.Domain, rest = splitDomain(rest)
	if i := strings.IndexByte(rest, '@'); i >= 0 {
		rest, r.Digest = rest[:i], rest[i+1:]
		if err := checkDigest(r.Digest); err != nil {
			return Reference{}, err
		}
	}
	if i := strings.IndexByte(rest, ':'); i >= 0 {
		rest, r.Tag = rest[:i], rest[i+1:]
		if err := checkTag(r.Tag); err != nil {
			return Reference{}, err
		}
	}
	r.Path = rest
	if r.Domain == defaultDomain && !strings.Contains(r.Path, "/") {
		r.Path = defaultNamespace + r.Path
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = defaultTag
	}
	if err := checkDomain(r.Domain); err != nil {
		return Reference{}, err
	}
	return r, checkPath(rest, r.Path)
}

// splitDomain decides whether the part before the first slash is a registry: it
// is when it looks like a host, which a Docker Hub user name cannot.
func splitDomain(name string) (domain, rest string) {
	first, rest, found := strings.Cut(name, "/")
	host := strings.ContainsAny(first, ".:") || first == "localhost" || strings.ToLower(first) != first
	if !found || !host || strings.Contains(first, "@") {
		return defaultDomain, name
	}
	if first == legacyDomain {
		first = defaultDomain
	}
	return first, rest
}

// checkDomain wants host[:port], where host is a name, an IPv4 address or an
// IPv6 address in brackets.
func checkDomain(domain string) error {
	host, port := domain, ""
	if i := strings.LastIndexByte(domain, ':'); i >= 0 && i > strings.LastIndexByte(domain, ']') {
		host, port = domain[:i], domain[i+1:]
		if port == "" || strings.Trim(port, "0123456789") != "" {
			return fmt.Errorf("registry %q: port must be a number", domain)
		}
	}
	if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
		inner, closed := strings.CutSuffix(inner, "]")
		if !closed || inner == "" || strings.Trim(inner, "0123456789abcdefABCDEF:") != "" {
			return fmt.Errorf("registry %q: not an IPv6 address in brackets", domain)
		}
		return nil
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' || !all(label, isHostByte) {
			return fmt.Errorf("registry %q: not a host name", domain)
		}
	}
	return nil
}

// checkPath judges the repository. shown is the part that the user typed, path
// the whole with what was filled in.
func checkPath(shown, path string) error {
	switch {
	case shown == "":
		return errors.New("repository name is empty")
	case strings.ToLower(shown) != shown:
		return errors.New("repository name must be lowercase")
	case len(path) > maxRepositoryBytes:
		return fmt.Errorf("repository name is longer than %d bytes", maxRepositoryBytes)
	}
	for component := range strings.SplitSeq(shown, "/") {
		if component == "" {
			return errors.New("repository name has an empty component")
		}
		if !isPathComponent(component) {
			return fmt.Errorf("repository name component %q: only a-z, 0-9, and between them one of . _ __ or dashes", component)
		}
	}
	return nil
}

// isPathComponent follows distribution/reference: runs of [a-z0-9]+ with a
// single separator between them, which is ".", "_", "__" or any number of "-".
func isPathComponent(s string) bool {
	for {
		n := 0
		for n < len(s) && isLowerAlnum(s[n]) {
			n++
		}
		if n == 0 {
			return false
		}
		if s = s[n:]; s == "" {
			return true
		}
		if s = cutSeparator(s); s == "" {
			return false
		}
	}
}

// cutSeparator drops one separator from the front of s; what is no separator
// stays, and is then refused as the start of a run.
func cutSeparator(s string) string {
	switch {
	case strings.HasPrefix(s, "__"):
		return s[2:]
	case s[0] == '.' || s[0] == '_':
		return s[1:]
	default:
		return strings.TrimLeft(s, "-")
	}
}

func checkTag(tag string) error {
	switch {
	case tag == "":
		return errors.New("tag is empty")
	case len(tag) > maxTagBytes:
		return fmt.Errorf("tag is longer than %d bytes", maxTagBytes)
	case tag[0] == '.' || tag[0] == '-' || !all(tag, isTagByte):
		return fmt.Errorf("tag %q: only letters, digits, _ . and -, and no . or - in front", tag)
	}
	return nil
}

// digestAlgorithms are those of the OCI image-spec and of Docker.
var digestAlgorithms = []struct {
	name   string
	digits int
}{{"sha256", 64}, {"sha384", 96}, {"sha512", 128}}

func checkDigest(digest string) error {
	algorithm, hex, found := strings.Cut(digest, ":")
	if !found {
		return fmt.Errorf("digest %q: not of the form sha256:<64 hexadecimal digits>", digest)
	}
	for _, a := range digestAlgorithms {
		if a.name != algorithm {
			continue
		}
		if len(hex) != a.digits || !isHex(hex) {
			return fmt.Errorf("digest %q: %s has %d lower-case hexadecimal digits", digest, algorithm, a.digits)
		}
		return nil
	}
	return fmt.Errorf("digest %q: unknown algorithm", digest)
}

// all reports whether every byte of s satisfies is.
func all(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}

func isLowerAlnum(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

func isAlnum(c byte) bool { return isLowerAlnum(c) || 'A' <= c && c <= 'Z' }

func isHostByte(c byte) bool { return isAlnum(c) || c == '-' }

func isTagByte(c byte) bool { return isAlnum(c) || c == '_' || c == '.' || c == '-' }

// isHex reports whether s consists of lower-case hexadecimal digits only.
func isHex(s string) bool {
	return s != "" && all(s, func(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' })
}
