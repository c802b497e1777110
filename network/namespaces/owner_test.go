package namespaces

import (
	"strings"
	"testing"
)

// The paths are those that the runtimes' documents and sources name, with cgroupfs
// and with systemd.
func TestOwner(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	docker := "docker " + id
	for _, c := range []struct {
		name string
		n    Namespace
		want string
	}{
		{"minictr", in("/minictr/" + id), "minictr " + id},
		{"docker, cgroupfs", in("/docker/" + id), docker},
		{"docker, systemd", in("/system.slice/docker-" + id + ".scope"), docker},
		{"systemd in docker", in("/system.slice/docker-" + id + ".scope/system.slice/nginx.service"), docker},
		{"podman, systemd", in("/machine.slice/libpod-" + id + ".scope/container"), "podman " + id},
		{"podman, cgroupfs", in("/libpod_parent/libpod-" + id), "podman " + id},
		{"conmon itself", in("/machine.slice/libpod-conmon-" + id + ".scope"), "unit libpod-conmon-" + id + ".scope"},
		{"kubernetes, containerd", in("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-" + id + ".scope"), "kubernetes " + id},
		{"kubernetes, CRI-O", in("/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope"), "kubernetes " + id},
		{"kubernetes, cgroupfs", in("/kubepods/besteffort/pod1f2e/" + id), "kubernetes " + id},
		{"LXC", in("/lxc.payload.web"), "lxc web"},
		{"LXC, unified", in("/lxc.payload/web/system.slice/ssh.service"), "lxc web"},
		{"libvirt", in(`/machine.slice/machine-qemu\x2d1\x2ddebian\x2d12.scope/libvirt/emulator`), "libvirt debian-12"},
		{"nspawn unit", in("/machine.slice/systemd-nspawn@arch.service/payload"), "nspawn arch"},
		{"nspawn by hand", in("/machine.slice/machine-arch.scope"), "nspawn arch"},
		{"unit", in("/system.slice/systemd-udevd.service/udev"), "unit systemd-udevd.service"},
		{"session", in("/user.slice/user-0.slice/session-3.scope"), "unit session-3.scope"},
		{"nobody's", in("/"), ""},
		{"a name", Namespace{Paths: []string{"/run/netns/blue"}}, "netns blue"},
		{"a name before a unit", Namespace{Paths: []string{"/run/netns/blue"}, Processes: in("/user.slice/session-3.scope").Processes}, "netns blue"},
		{"a container before a name", Namespace{Paths: []string{"/run/netns/blue"}, Processes: in("/docker/" + id).Processes}, docker},
		{"a name elsewhere", Namespace{Paths: []string{"/proc/12/root/run/netns/blue"}}, "netns blue"},
		{"docker's sandbox", Namespace{Paths: []string{"/run/docker/netns/6d1c"}}, "docker 6d1c"},
		{"a path", Namespace{Paths: []string{"/tmp/ns"}}, ""},
		{"conmon's child", Namespace{Processes: in("/").Processes, parentCommand: "/usr/bin/conmon --api-version 1 -c " + id + " -u " + id + " -r /usr/bin/crun"}, "podman " + id},
		{"shim's child", Namespace{parentCommand: "/usr/bin/containerd-shim-runc-v2 -namespace moby -id " + id + " -address /run/containerd/containerd.sock"}, docker},
		{"ctr's child", Namespace{parentCommand: "/usr/bin/containerd-shim-runc-v2 -namespace default -id web"}, "containerd web"},
		{"a name that steers none", Namespace{parentCommand: "conmon -c"}, "podman"},
		{"kernel thread", Namespace{Processes: []Process{{Pid: 25, PPid: 2, Command: "kdevtmpfs"}}}, "kernel"},
		{"host", Namespace{Host: true, Processes: in("/init.scope").Processes}, "host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.n.Owner().String(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// in is a namespace whose first process is in the cgroup.
func in(cgroup string) Namespace {
	return Namespace{Processes: []Process{{Pid: 4711, PPid: 1, Cgroup: cgroup}}}
}

func TestCgroupOf(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "",
		"0::/system.slice/cron.service\n": "/system.slice/cron.service",
		"9:name=systemd:/\n4:memory:/process_api/c3ee9e73c0186f\n0::/\n": "/process_api/c3ee9e73c0186f",
		"5:memory:/a/very/long/path/of/nobody\n4:pids:/minictr/abc\n":    "/minictr/abc",
		"3:cpu,cpuacct:/docker/a:b\n":                                    "/docker/a:b",
	} {
		if got := cgroupOf(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestBindMounts(t *testing.T) {
	table := `36 35 0:4 net:[4026532471] /run/netns/blue rw shared:1 - nsfs nsfs rw
37 35 0:4 mnt:[4026532472] /tmp/a\040b\134 rw - nsfs nsfs rw
38 35 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw
39 35 0:4 strange:[1] /x rw - nsfs nsfs rw
40 35 0:4 net:[x] /y rw - nsfs nsfs rw
`
	got := bindMounts(table)
	if len(got) != 2 || got[0].path != "/run/netns/blue" || got[0].inode != 4026532471 || got[1].path != `/tmp/a b\` || Kinds()[got[1].kind] != Mount {
		t.Errorf("got %v", got)
	}
}

func FuzzBindMounts(f *testing.F) {
	f.Add("36 35 0:4 net:[4026532471] /run/netns/blue rw shared:1 - nsfs nsfs rw\n")
	f.Add(`36 35 0:4 net:[1] /a\04 - nsfs `)
	f.Fuzz(func(t *testing.T, table string) {
		for _, b := range bindMounts(table) {
			if b.kind < 0 || b.kind >= len(Kinds()) {
				t.Errorf("%q: kind %d", table, b.kind)
			}
		}
	})
}
