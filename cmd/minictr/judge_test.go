package main

import (
	"testing"

	"github.com/minictr/minictr/rootfs"
)

// TestJudge: what an image says must be what the kernel and minictr can do.
func TestJudge(t *testing.T) {
	for want, c := range map[string]rootfs.Config{
		"": {Cmd: []string{"sh", "a b"}, Env: []string{"A=b", "NOVALUE", "=x", "N\n=1"}, WorkingDir: "/", User: "0:0", StopSignal: "SIGRTMIN+3"},
		`config.Entrypoint: "a\x00b" contains a NUL`:      {Entrypoint: []string{"x", "a\x00b"}},
		`config.Cmd: "\x00" contains a NUL`:               {Cmd: []string{"\x00"}},
		`config.Env: "A=\x00" contains a NUL`:             {Env: []string{"A=\x00"}},
		`config.WorkingDir: "/tmp\x00/x" contains a NUL`:  {WorkingDir: "/tmp\x00/x"},
		`config.User: "root\x00x" contains a NUL`:         {User: "root\x00x"},
		`config.StopSignal: unknown signal "KILL;reboot"`: {StopSignal: "KILL;reboot"},
		`config.StopSignal: unknown signal "-9"`:          {StopSignal: "-9"},
		`config.StopSignal: unknown signal "0"`:           {StopSignal: "0"},
		`config.StopSignal: unknown signal "4294967305"`:  {StopSignal: "4294967305"},
	} {
		err := judge(c)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
