package rootfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/minictr/minictr/runtime/step"
)

// Config is what a run needs of an image's configuration. Its JSON is part of
// the store's files. Healthcheck, OnBuild and history are left out: nothing here
// acts on them, and the whole configuration stays in the store as a blob.
type Config struct {
	Architecture string              `json:"architecture"` // as GOARCH: "amd64"
	OS           string              `json:"os"`           // "linux"
	Variant      string              `json:"variant,omitempty"`
	Cmd          []string            `json:"cmd,omitempty"`
	Entrypoint   []string            `json:"entrypoint,omitempty"`
	Env          []string            `json:"env,omitempty"` // "NAME=value"
	WorkingDir   string              `json:"workingDir,omitempty"`
	User         string              `json:"user,omitempty"` // "user[:group]", see LookupUser
	ExposedPorts map[string]struct{} `json:"exposedPorts,omitempty"`
	Volumes      map[string]struct{} `json:"volumes,omitempty"`
	Labels       map[string]string   `json:"labels,omitempty"`
	StopSignal   string              `json:"stopSignal,omitempty"`
}

// imageConfig is an image's configuration as registries and archives carry it:
// OCI image-spec, config.md, and Docker's image specification v1.2, which name
// these fields alike.
type imageConfig struct {
	Architecture string
	OS           string
	Variant      string
	Created      time.Time
	Config       struct {
		Cmd, Entrypoint, Env  []string
		WorkingDir, User      string
		ExposedPorts, Volumes map[string]struct{}
		Labels                map[string]string
		StopSignal            string
	}
	RootFS struct {
		Type    string
		DiffIDs []string `json:"diff_ids"`
	}
}

// parseImageConfig reads a configuration and judges what the store relies on.
func parseImageConfig(raw []byte) (imageConfig, error) {
	var c imageConfig
	if err := json.Unmarshal(raw, &c); err != nil {
		return imageConfig{}, err
	}
	if c.RootFS.Type != "layers" {
		return imageConfig{}, fmt.Errorf("rootfs.type: %q instead of \"layers\"", c.RootFS.Type)
	}
	if c.OS != "" && c.OS != "linux" {
		return imageConfig{}, fmt.Errorf("os: image is for %q, not for linux", c.OS)
	}
	if len(c.RootFS.DiffIDs) > maxLayers {
		return imageConfig{}, fmt.Errorf("rootfs.diff_ids: %d layers, more than %d", len(c.RootFS.DiffIDs), maxLayers)
	}
	for i, id := range c.RootFS.DiffIDs {
		if err := checkSHA256(id); err != nil {
			return imageConfig{}, fmt.Errorf("rootfs.diff_ids[%d]: %w", i, err)
		}
	}
	return c, nil
}

// maxLayers is what the kernel's overlay takes (fs/overlayfs/params.h,
// OVL_MAX_STACK).
const maxLayers = 500

func checkSHA256(digest string) error {
	if err := checkDigest(digest); err != nil {
		return err
	}
	if len(digest) != len("sha256:")+64 {
		return fmt.Errorf("digest %q: only sha256 is supported", digest)
	}
	return nil
}

// DiffIDs returns the digests of the uncompressed layers that an image's
// configuration names, the lowest first.
func DiffIDs(rawConfig []byte) ([]string, error) {
	c, err := parseImageConfig(rawConfig)
	if err == nil && len(c.RootFS.DiffIDs) == 0 {
		err = errors.New("rootfs.diff_ids: image has no layers")
	}
	return c.RootFS.DiffIDs, step.Fail("read image configuration", "", err)
}

// runConfig is the trimmed form.
func (c imageConfig) runConfig() Config {
	return Config{
		Architecture: c.Architecture, OS: c.OS, Variant: c.Variant,
		Cmd: c.Config.Cmd, Entrypoint: c.Config.Entrypoint, Env: c.Config.Env,
		WorkingDir: c.Config.WorkingDir, User: c.Config.User,
		ExposedPorts: c.Config.ExposedPorts, Volumes: c.Config.Volumes,
		Labels: c.Config.Labels, StopSignal: c.Config.StopSignal,
	}
}
