package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// A Config is what containers-registries.conf(5), version 2, says about
// registries. The zero value says nothing: every name means the host in it.
//
// Short names are not configured: "alpine" is docker.io/library/alpine on every
// machine, as with Docker, so unqualified-search-registries and aliases are not
// read. What should come from elsewhere is remapped, with prefix "docker.io".
type Config struct {
	rules []rule
	certs []string // directories of the form of containers-certs.d(5), the first that has the host counts
}

// A rule is one [[registry]] table.
type rule struct {
	file     string // where it stands
	Prefix   string `toml:"prefix"`
	Location string `toml:"location"`
	Insecure bool   `toml:"insecure"`
	Blocked  bool   `toml:"blocked"`
	Mirrors  []struct {
		Location string `toml:"location"`
		Insecure bool   `toml:"insecure"`
		Pull     string `toml:"pull-from-mirror"` // all, digest-only, tag-only
	} `toml:"mirror"`
	MirrorByDigestOnly bool `toml:"mirror-by-digest-only"`
}

// The values of pull-from-mirror.
const (
	pullAll        = "all"
	pullDigestOnly = "digest-only"
	pullTagOnly    = "tag-only"
)

// The configuration files, of which the first that exists counts, with the
// drop-in files in the directory of its name and ".d". A directory certs.d lies
// beside each.
var configFiles = []string{"/etc/minictr/registries.conf", "/etc/containers/registries.conf"}

// dockerCerts is where Docker has its certificates.
const dockerCerts = "/etc/docker/certs.d"

// LoadConfig reads the configuration of the machine, or the one file that is
// named. Certificates are looked for in the directories certs.d beside the files
// that may be read, and in Docker's.
func LoadConfig(file string) (*Config, error) {
	c := &Config{}
	if file != "" {
		c.certs = []string{certsBeside(file), certsBeside(configFiles[0]), certsBeside(configFiles[1]), dockerCerts}
		return c, c.add(file)
	}
	c.certs = []string{certsBeside(configFiles[0]), certsBeside(configFiles[1]), dockerCerts}
	return c, c.addFirst(configFiles)
}

func certsBeside(file string) string { return filepath.Join(filepath.Dir(file), "certs.d") }

// addFirst reads the first file that exists, or whose drop-ins do.
func (c *Config) addFirst(files []string) error {
	for _, file := range files {
		drops, err := filepath.Glob(file + ".d/*.conf") // in alphabetical order
		if err != nil {
			return err
		}
		err = c.add(file)
		if errors.Is(err, fs.ErrNotExist) && len(drops) == 0 {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, drop := range drops {
			if err := c.add(drop); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}

// add reads one file. A table takes the place of an earlier one with the same
// prefix (containers-registries.conf.d(5)).
func (c *Config) add(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	rules, err := parseConfig(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, r := range rules {
		r.file = file
		c.rules = slices.DeleteFunc(c.rules, func(old rule) bool { return old.Prefix == r.Prefix })
		c.rules = append(c.rules, r)
	}
	return nil
}

// parseConfig reads and checks the tables of one file. Keys that it does not
// know are other programs' business.
func parseConfig(text string) ([]rule, error) {
	var parsed struct {
		Rules    []rule         `toml:"registry"`
		Version1 map[string]any `toml:"registries"`
	}
	if _, err := toml.Decode(text, &parsed); err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("line %d: %s", syntax.Position.Line, syntax.Message)
		}
		return nil, err
	}
	if parsed.Version1 != nil {
		return nil, &Error{Text: "[registries]: version 1 of the format is not supported", Help: "write [[registry]] tables, see containers-registries.conf(5)"}
	}
	seen := map[string]bool{}
	for i := range parsed.Rules {
		r := &parsed.Rules[i]
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("registry[%d].%w", i, err)
		}
		if seen[r.Prefix] {
			return nil, fmt.Errorf("registry[%d].prefix: %q stands here twice", i, r.Prefix)
		}
		seen[r.Prefix] = true
	}
	return parsed.Rules, nil
}

// check fills what may be left out and judges the rest. Its errors begin with
// the name of the key.
func (r *rule) check() error {
	r.Prefix, r.Location = strings.TrimRight(r.Prefix, "/"), strings.TrimRight(r.Location, "/")
	if r.Prefix == "" {
		r.Prefix = r.Location
	}
	host, wildcard := strings.CutPrefix(r.Prefix, "*.")
	if wildcard && strings.ContainsAny(host, "/*") {
		return fmt.Errorf("prefix: %q: a wildcard is *.HOST, with nothing behind", r.Prefix)
	}
	if err := checkPlace(host); err != nil {
		return fmt.Errorf("prefix: %w", err)
	}
	if r.Location == "" && !wildcard {
		r.Location = withoutTag(r.Prefix)
	}
	if err := checkLocation(r.Location); err != nil && r.Location != "" {
		return fmt.Errorf("location: %w", err)
	}
	for i := range r.Mirrors {
		m := &r.Mirrors[i]
		m.Location = strings.TrimRight(m.Location, "/")
		if err := checkLocation(m.Location); err != nil {
			return fmt.Errorf("mirror[%d].location: %w", i, err)
		}
		if m.Pull != "" && r.MirrorByDigestOnly {
			return fmt.Errorf("mirror[%d].pull-from-mirror: cannot be beside mirror-by-digest-only", i)
		}
		if !slices.Contains([]string{"", pullAll, pullDigestOnly, pullTagOnly}, m.Pull) {
			return fmt.Errorf("mirror[%d].pull-from-mirror: %q: must be %s, %s or %s", i, m.Pull, pullAll, pullDigestOnly, pullTagOnly)
		}
	}
	return nil
}

// checkLocation wants HOST[:PORT][/PATH]; the tag is the one that was asked for.
func checkLocation(location string) error {
	if withoutTag(location) != location {
		return fmt.Errorf("%q: must be without tag and digest", location)
	}
	return checkPlace(location)
}

func withoutTag(place string) string {
	place, _, _ = strings.Cut(place, "@")
	if i := strings.LastIndexByte(place, ':'); i > strings.IndexByte(place, '/') && strings.Contains(place, "/") {
		place = place[:i]
	}
	return place
}

// checkPlace wants HOST[:PORT][/PATH], perhaps with a tag or digest behind.
func checkPlace(place string) error {
	if place == "" {
		return errors.New("is empty")
	}
	if strings.Contains(place, "://") {
		return fmt.Errorf("%q: must be HOST[:PORT][/PATH], without a scheme", place)
	}
	host, _, _ := strings.Cut(place, "/")
	if u, err := url.Parse("https://" + host); err != nil || u.Host != host || u.Hostname() == "" || strings.ContainsAny(place, "*?# \t") {
		return fmt.Errorf("%q: must be HOST[:PORT][/PATH]", place)
	}
	return nil
}
