package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A Credential is what a user proves to a registry with.
type Credential struct {
	Username, Password string
	IdentityToken      string // for the token server, in place of the two
	RegistryToken      string // for the registry itself
	From               string // file or program where it was found
}

// String never tells the secret.
func (c Credential) String() string { return fmt.Sprintf("%s, from %s", c.Username, c.From) }

// GoString never tells the secret.
func (c Credential) GoString() string { return c.String() }

func (c Credential) isEmpty() bool {
	return c.Username == "" && c.Password == "" && c.IdentityToken == "" && c.RegistryToken == ""
}

// Credentials are the files in which credentials are looked for, in order: the
// first that has some for the registry counts. Login and logout change the first.
type Credentials struct {
	Files []string
}

// LoadCredentials names the files of Docker and podman: $REGISTRY_AUTH_FILE,
// config.json in $DOCKER_CONFIG or ~/.docker, and auth.json of podman's runtime
// and configuration directories (containers-auth.json(5)).
func LoadCredentials() Credentials {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/root"
	}
	docker := cmp.Or(os.Getenv("DOCKER_CONFIG"), filepath.Join(home, ".docker"))
	config := cmp.Or(os.Getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config"))
	files := []string{
		filepath.Join(docker, "config.json"),
		fmt.Sprintf("/run/containers/%d/auth.json", os.Getuid()),
		filepath.Join(config, "containers", "auth.json"),
	}
	if runtime := os.Getenv("XDG_RUNTIME_DIR"); runtime != "" {
		files[1] = filepath.Join(runtime, "containers", "auth.json")
	}
	if file := os.Getenv("REGISTRY_AUTH_FILE"); file != "" {
		files = append([]string{file}, files...)
	}
	return Credentials{Files: files}
}

// hubKey is the name of Docker Hub in these files.
const hubKey = "https://index.docker.io/v1/"

// find returns the credential for a repository; an empty one when there is none.
func (c Credentials) find(ctx context.Context, e endpoint) (Credential, error) {
	for _, file := range c.Files {
		found, err := readAuthFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var credential Credential
		if err == nil {
			credential, err = found.find(ctx, e)
		}
		if err != nil {
			return Credential{}, fmt.Errorf("credentials in %s: %w", file, err)
		}
		if !credential.isEmpty() {
			return credential, nil
		}
	}
	return Credential{}, nil
}

// An authFile is the part of config.json or auth.json that is about
// credentials.
type authFile struct {
	name        string
	Auths       map[string]authEntry `json:"auths"`
	CredHelpers map[string]string    `json:"credHelpers"`
	CredsStore  string               `json:"credsStore"`
}

type authEntry struct {
	Auth          string `json:"auth"` // base64 of user:password
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

func readAuthFile(file string) (authFile, error) {
	f := authFile{name: file}
	raw, err := os.ReadFile(file)
	if err != nil {
		return f, withoutPathUnlessMissing(err)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return f, nil // as podman leaves it after the last logout
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, jsonError(raw, err)
	}
	return f, nil
}

func withoutPathUnlessMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return withoutPath(err)
}

// jsonError says where the file is wrong, but not what stands there.
func jsonError(raw []byte, err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		line := 1 + bytes.Count(raw[:min(int(syntax.Offset), len(raw))], []byte("\n"))
		return fmt.Errorf("line %d: is not JSON", line)
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s: is not of the right type", wrong.Field)
	}
	return errors.New("is not JSON")
}

// find looks for the repository and what stands above it, as
// containers-auth.json(5) has it; then for the host under every name that it may
// have. A helper that is named for the host is asked in place of the file.
func (f authFile) find(ctx context.Context, e endpoint) (Credential, error) {
	if helper := f.helperFor(e.shown); helper != "" {
		return helperGet(ctx, helper, helperKey(e.shown))
	}
	for key := e.shown + "/" + e.path; strings.Contains(key, "/"); key = key[:strings.LastIndexByte(key, '/')] {
		if entry, ok := f.Auths[key]; ok {
			return entry.credential(f.name)
		}
	}
	for key, entry := range f.Auths {
		if registryOf(key) == e.shown {
			if c, err := entry.credential(f.name); err != nil || !c.isEmpty() {
				return c, err
			}
		}
	}
	return Credential{}, nil
}

// helperFor is the name of the credential helper for the host, or empty.
func (f authFile) helperFor(host string) string {
	for key, helper := range f.CredHelpers {
		if registryOf(key) == host {
			return helper
		}
	}
	return f.CredsStore
}

// registryOf is the host of a key of these files: "https://reg.io/v2/" and
// "reg.io" are the same, and so are all names of Docker Hub.
func registryOf(key string) string {
	if strings.Contains(key, "://") || strings.HasSuffix(key, "/v1/") || strings.HasSuffix(key, "/v2/") {
		_, rest, found := strings.Cut(key, "://")
		if !found {
			rest = key
		}
		key, _, _ = strings.Cut(rest, "/")
	}
	switch key {
	case hubAPI, "registry-1.docker.io", "registry.hub.docker.com":
		return hub
	}
	return key
}

func helperKey(host string) string {
	if host == hub {
		return hubKey
	}
	return host
}

func (a authEntry) credential(from string) (Credential, error) {
	c := Credential{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken, From: from}
	if a.Auth == "" {
		return c, nil
	}
	plain, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(a.Auth, "="))
	user, password, ok := strings.Cut(string(plain), ":")
	if err != nil || !ok {
		return Credential{}, errors.New("auth: is not the base64 of USER:PASSWORD")
	}
	c.Username, c.Password = user, strings.TrimRight(password, "\x00")
	return c, nil
}
