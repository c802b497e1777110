package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A platformFlag is --platform OS/ARCH[/VARIANT]; the zero value is the host's.
type platformFlag struct {
	os, arch, variant string
}

func (p *platformFlag) String() string {
	if p.os == "" {
		return ""
	}
	return strings.TrimSuffix(p.os+"/"+p.arch+"/"+p.variant, "/")
}

// Set reads the value of the flag.
func (p *platformFlag) Set(s string) error {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return errors.New("must be OS/ARCH or OS/ARCH/VARIANT, as linux/arm64")
	}
	if parts[0] != "linux" {
		return fmt.Errorf("minictr runs linux images, not %s", parts[0])
	}
	p.os, p.arch, p.variant = parts[0], architecture(parts[1]), ""
	if len(parts) == 3 {
		p.variant = parts[2]
	}
	return nil
}

// architecture is the name that Go and image indexes use.
func architecture(name string) string {
	if known, ok := map[string]string{"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}[name]; ok {
		return known
	}
	return name
}

// orHost fills the zero value.
func (p platformFlag) orHost() platformFlag {
	if p.os == "" {
		return platformFlag{os: "linux", arch: runtime.GOARCH}
	}
	return p
}

// variants are the variants that run on p, the best first. A later ARM runs the
// code of an earlier one, and so does a later level of amd64.
func (p platformFlag) variants() []string {
	order := map[string][]string{
		"arm":   {"v8", "v7", "v6", "v5"},
		"arm64": {"v8", ""},
		"amd64": {"v4", "v3", "v2", "v1", ""},
	}[p.arch]
	preferred := map[string]string{"arm": "v7", "arm64": "v8", "amd64": "v1"}[p.arch]
	if p.variant != "" {
		preferred = p.variant
	}
	if i := slices.Index(order, preferred); i >= 0 {
		return append(slices.Clone(order[i:]), "")
	}
	return []string{preferred, ""}
}

// choose returns the entry of an index that fits the platform best.
func (p platformFlag) choose(entries []v1.Descriptor) (v1.Descriptor, error) {
	var offered []string
	for _, variant := range p.variants() {
		for _, e := range entries {
			q := e.Platform
			if q != nil && q.OS == p.os && q.Architecture == p.arch && q.Variant == variant {
				return e, nil
			}
		}
	}
	for _, e := range entries {
		if e.Platform == nil && len(entries) == 1 {
			return e, nil // says nothing, but there is no other
		}
		if e.Platform != nil && e.Platform.OS != "unknown" { // attestations of a build
			offered = append(offered, e.Platform.String())
		}
	}
	if len(offered) == 0 {
		return v1.Descriptor{}, fmt.Errorf("no image for %s in the index", p.String())
	}
	return v1.Descriptor{}, fmt.Errorf("no image for %s in the index, which has %s", p.String(), strings.Join(offered, ", "))
}

// accepts judges an image that is in no index. One that says nothing will do.
func (p platformFlag) accepts(os, arch, variant string) error {
	fits := (os == "" || os == p.os) && (arch == "" || arch == p.arch && slices.Contains(p.variants(), variant))
	if fits {
		return nil
	}
	return fmt.Errorf("image is for %s, not for %s", strings.TrimSuffix(os+"/"+arch+"/"+variant, "/"), p.String())
}
