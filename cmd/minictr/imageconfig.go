package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/minictr/minictr/rootfs"
)

// publishedConfig is an image's configuration as its maker published it: OCI
// image-spec, config.md, and what Docker's image specification v1.2 has beside.
type publishedConfig struct {
	Created       time.Time
	Author        string
	Comment       string
	DockerVersion string `json:"docker_version"`
	OSVersion     string `json:"os.version"`
	Config        imageConfigView
	History       []publishedStep
}

// A publishedStep is one instruction of a Dockerfile, or the like.
type publishedStep struct {
	Created    time.Time
	CreatedBy  string `json:"created_by"`
	Author     string
	Comment    string
	EmptyLayer bool `json:"empty_layer"` // it changed no file
}

// imageConfigView is what inspect prints of it: the names are Docker's (Engine
// API v1.47, ImageInspect), which those of the configuration are, too.
type imageConfigView struct {
	Hostname     string
	Domainname   string
	User         string
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	ExposedPorts map[string]struct{}
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Env          []string
	Cmd          []string
	Healthcheck  *healthcheckView // null if there is none
	ArgsEscaped  bool
	Image        string
	Volumes      map[string]struct{}
	WorkingDir   string
	Entrypoint   []string
	OnBuild      []string
	Labels       map[string]string
	StopSignal   string
	StopTimeout  *int // seconds
	Shell        []string
}

type healthcheckView struct {
	Test          []string
	Interval      time.Duration // nanoseconds, as the others
	Timeout       time.Duration
	StartPeriod   time.Duration
	StartInterval time.Duration
	Retries       int
}

// publishedConfigOf reads the configuration of an image of the store.
func publishedConfigOf(store *rootfs.Store, i *rootfs.Image) (publishedConfig, error) {
	var c publishedConfig
	raw, err := store.Blob(i.ID)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("read configuration of image %s: %w", i.ID, err)
	}
	return c, nil
}

// comment is Docker's: that of the last step where the image has none.
func (c publishedConfig) comment() string {
	if n := len(c.History); c.Comment == "" && n > 0 {
		return c.History[n-1].Comment
	}
	return c.Comment
}
