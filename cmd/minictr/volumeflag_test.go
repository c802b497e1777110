package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime"
)

// mountText is a mount in one line: type, source, destination, options, and what
// is said of a volume.
func mountText(m runtime.Mount) string {
	s := strings.TrimSuffix(m.Type+" "+m.Source+" "+m.Destination+" "+strings.Join(m.Options, ","), " ")
	if m.CreateSource {
		s += " create"
	}
	b, err := json.Marshal(m.Volume)
	if err != nil || string(b) == "{}" {
		return s
	}
	return s + " " + string(b)
}

func TestParseVolume(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"data:/data":             "volume data /data",
		"/data":                  "volume  /data",
		"data:/data/":            "volume data /data",
		"data:/data:ro,nocopy":   `volume data /data ro {"noCopy":true}`,
		"data:/data:z":           "volume data /data",
		"data:/x:noexec,idmap":   "volume data /x noexec,idmap",
		"/srv:/srv":              "bind /srv /srv rbind create",
		"/srv/../etc:/srv:ro":    "bind /etc /srv rbind,ro create",
		"/srv:/srv:rslave,Z,rw":  "bind /srv /srv rbind,rslave,rw create",
		"/srv:/srv:rro":          "bind /srv /srv rbind,rro create",
		"/srv:/srv:rro,rprivate": "bind /srv /srv rbind,rro,rprivate create",
		"./x:/srv":               "bind " + filepath.Join(here, "x") + " /srv rbind create",
		"/srv:/x:idmap=uids=0-1000-1;gids=0-1-1#1-5-1": "bind /srv /x rbind,idmap=uids=0-1000-1;gids=0-1-1#1-5-1 create",

		"":                     "! not of the form",
		":":                    "! not of the form",
		":/x":                  "! not of the form",
		"data:":                "! not of the form",
		"a:/b:c:d":             "! not of the form",
		"data":                 "! no absolute path",
		"data:relative":        "! no absolute path",
		"data:/":               "! the container's / cannot be a mount",
		"/":                    "! the container's / cannot be a mount",
		"data:/proc/.":         "! /proc",
		"da/ta:/x":             "! volume name \"da/ta\"",
		"~/x:/x":               "! volume name \"~/x\"",
		"data:/x:nope":         "! unknown option \"nope\"",
		"data:/x:rshared":      "! rshared: only a directory of the host",
		"/srv:/x:nocopy":       "! nocopy",
		"/srv:/x:ro,rw":        "! ro and rw contradict",
		"/srv:/x:shared,slave": "! shared and slave contradict",
		"/srv:/x:rro,rslave":   "! rro needs the propagation rprivate",
		"/srv:/x:idmap=pids":   "! idmap=pids",
		"data:/x:size=1m":      "! unknown option \"size=1m\"",
	} {
		f := &runFlags{volumes: []string{text}}
		compare(t, "-v "+text, f, want)
		if ignored := strings.HasSuffix(text, ":z") || strings.Contains(text, ",Z"); ignored != (len(f.warnings) == 1) {
			t.Errorf("-v %s: warnings %q", text, f.warnings)
		}
	}
}

func compare(t *testing.T, what string, f *runFlags, want string) {
	t.Helper()
	err := f.parseMounts()
	wrong, fails := strings.CutPrefix(want, "! ")
	switch {
	case fails && (err == nil || !strings.Contains(err.Error(), wrong)):
		t.Errorf("%s: %v, want an error with %q", what, err, wrong)
	case !fails && err != nil:
		t.Errorf("%s: %v", what, err)
	case !fails && mountText(f.Mounts[0]) != want:
		t.Errorf("%s: %q, want %q", what, mountText(f.Mounts[0]), want)
	}
}

func TestParseMount(t *testing.T) {
	for text, want := range map[string]string{
		"src=data,dst=/data":                            "volume data /data",
		"type=volume,source=data,target=/data,readonly": "volume data /data ro",
		"dst=/data": "volume  /data",
		"type=volume,src=data,dst=/d,volume-nocopy,ro=false":                      `volume data /d {"noCopy":true}`,
		"type=volume,src=data,dst=/d,volume-nocopy=false":                         "volume data /d",
		"src=data,dst=/d,volume-driver=local,volume-label=a=b,volume-label=c":     `volume data /d {"driver":"local","labels":{"a":"b","c":""}}`,
		"src=data,dst=/d,volume-opt=type=tmpfs,\"volume-opt=o=size=1m,mode=700\"": `volume data /d {"options":{"o":"size=1m,mode=700","type":"tmpfs"}}`,
		"src=data,dst=/d,volume-subpath=a/b":                                      `volume data /d {"subpath":"a/b"}`,
		"type=bind,src=/srv,dst=/srv":                                             "bind /srv /srv rbind",
		"TYPE=bind,Source=/srv,Target=/srv,RO":                                    "bind /srv /srv rbind,ro",
		"type=bind,src=/srv,dst=/srv,bind-create-src":                             "bind /srv /srv rbind create",
		"type=bind,src=/srv,dst=/srv,bind-propagation=rslave":                     "bind /srv /srv rbind,rslave",
		"type=bind,src=/srv,dst=/srv,bind-nonrecursive":                           "bind /srv /srv bind",
		"type=bind,src=/srv,dst=/srv,bind-recursive=disabled":                     "bind /srv /srv bind",
		"type=bind,src=/srv,dst=/srv,bind-recursive=enabled,ro":                   "bind /srv /srv rbind,ro",
		"type=bind,src=/srv,dst=/srv,bind-recursive=writable,ro":                  "bind /srv /srv rbind,ro,writable-below",
		"type=bind,src=/srv,dst=/srv,bind-recursive=readonly,ro":                  "bind /srv /srv rbind,rro",
		"type=bind,src=/srv,dst=/srv,idmap":                                       "bind /srv /srv rbind,idmap",
		"type=bind,src=/srv,dst=/srv,idmap=uids=0-1-1":                            "bind /srv /srv rbind,idmap=uids=0-1-1",
		"type=bind,src=/srv,dst=/srv,consistency=cached":                          "bind /srv /srv rbind",
		"type=tmpfs,dst=/t": "tmpfs tmpfs /t nosuid,nodev,noexec",
		"type=tmpfs,dst=/t,tmpfs-size=10m,tmpfs-mode=1770,ro": "tmpfs tmpfs /t nosuid,nodev,noexec,size=10485760,mode=1770,ro",
		"type=tmpfs,dst=/t,tmpfs-size=4096":                   "tmpfs tmpfs /t nosuid,nodev,noexec,size=4096",

		"":                                                "! it is empty",
		"type=volume":                                     "! the target is missing",
		"type=nfs,dst=/x":                                 `! unknown type "nfs"`,
		"type=bind,dst=/x":                                `! the source "" is no absolute path`,
		"type=bind,src=data,dst=/x":                       `! the source "data" is no absolute path`,
		"type=bind,src=/a,dst=x":                          "! no absolute path",
		"src=/srv,dst=/x":                                 `! volume name "/srv"`,
		"src=data,dst=/x,nope":                            `! unknown key "nope"`,
		"src=data,dst=/x,nope=1":                          `! unknown key "nope"`,
		"src=data,dst=/x,tmpfs-size=1m":                   "! key tmpfs-size: only a mount of type tmpfs has it, not one of type volume",
		"type=bind,src=/a,dst=/x,volume-nocopy":           "! key volume-nocopy: only a mount of type volume",
		"type=tmpfs,src=/a,dst=/x":                        "! key src: only a mount of type bind or volume",
		"src=data,dst=/x,bind-propagation=shared":         "! key bind-propagation: only a mount of type bind",
		"type=bind,src=/a,dst=/x,bind-propagation=up":     `! key bind-propagation: "up": there are private`,
		"type=bind,src=/a,dst=/x,bind-propagation":        "! key bind-propagation: its value is missing",
		"type=bind,src=,dst=/x":                           "! key src: its value is missing",
		"src=data,dst=/x,ro=maybe":                        `! key ro: "maybe" is neither true nor false`,
		"type=bind,src=/a,dst=/x,bind-recursive=readonly": "! readonly is missing",
		"type=bind,src=/a,dst=/x,bind-recursive=writable": "! readonly is missing",
		"type=bind,src=/a,dst=/x,bind-recursive=readonly,ro,bind-propagation=rslave": "! rro needs the propagation rprivate",
		"type=bind,src=/a,dst=/x,bind-recursive=enabled,bind-nonrecursive":           "! contradict",
		"type=tmpfs,dst=/x,tmpfs-size=much":                                          "! key tmpfs-size",
		"type=tmpfs,dst=/x,tmpfs-mode=999":                                           `! key tmpfs-mode: "999" is no octal mode`,
		"src=data,dst=/x,volume-driver=nfs":                                          `! key volume-driver: "nfs"`,
		"src=data,dst=/x,volume-opt=type":                                            "! key volume-opt",
		"src=data,dst=/x,volume-label==x":                                            "! key volume-label",
		"src=data,dst=/x,volume-opt=o=a,volume-opt=o=b":                              "! o is given twice",
		"src=data,dst=/x,volume-subpath=../x":                                        `! key volume-subpath: subpath "../x"`,
		"src=data,dst=/x,idmap=uids":                                                 "! key idmap",
		`src="data,dst=/x`:                                                           "! quote",
	} {
		f := &runFlags{mounts: []string{text}}
		compare(t, "--mount "+text, f, want)
		if strings.Contains(text, "consistency") != (len(f.warnings) == 1) {
			t.Errorf("--mount %s: warnings %q", text, f.warnings)
		}
	}
}

func TestTwoMountsAtOnePlace(t *testing.T) {
	compare(t, "twice", &runFlags{volumes: []string{"one:/x", "two:/x/"}}, "! two mounts at /x")
	compare(t, "twice", &runFlags{volumes: []string{"one:/x"}, tmpfs: []string{"/x"}}, "! two mounts at /x")
}

// What an image calls a volume is mounted inside the container, and where the
// command line has not said otherwise.
func TestImageVolumes(t *testing.T) {
	image := func(paths ...string) rootfs.Config {
		c := rootfs.Config{Volumes: map[string]struct{}{}}
		for _, p := range paths {
			c.Volumes[p] = struct{}{}
		}
		return c
	}
	f := &runFlags{volumes: []string{"mine:/b"}}
	if err := f.parseMounts(); err != nil {
		t.Fatal(err)
	}
	if err := f.imageVolumes(image("/b", "/a", "relative", "/c/../../../a/", "/../d")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range f.Mounts {
		got = append(got, m.Destination)
	}
	if !slices.Equal(got, []string{"/b", "/a", "/d", "/relative"}) {
		t.Errorf("%q", got)
	}
	for _, bad := range []string{"/", "", "/proc", "/../.."} {
		if err := (&runFlags{}).imageVolumes(image(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	var many []string
	for i := range maxImageVolumes + 1 {
		many = append(many, strings.Repeat("x", i+1))
	}
	if err := (&runFlags{}).imageVolumes(image(many...)); err == nil {
		t.Error("too many volumes: no error")
	}
}

// Whatever an image calls a volume: it is refused, or it has a place of its own
// below the container's root.
func FuzzImageVolumes(f *testing.F) {
	f.Add("/data", "/var/lib/../x")
	f.Add("//proc/", "relative/..")
	f.Fuzz(func(t *testing.T, one, two string) {
		flags := &runFlags{}
		if flags.imageVolumes(rootfs.Config{Volumes: map[string]struct{}{one: {}, two: {}}}) != nil {
			if len(flags.Mounts) > 0 {
				t.Error("an error, and mounts")
			}
			return
		}
		for _, m := range flags.Mounts {
			if m.Type != "volume" || m.Source != "" || !filepath.IsAbs(m.Destination) || filepath.Clean(m.Destination) != m.Destination || m.Destination == "/" || m.Destination == "/proc" {
				t.Errorf("%q, %q: %+v", one, two, m)
			}
		}
		if err := flags.uniqueTargets(); err != nil {
			t.Error(err)
		}
	})
}
