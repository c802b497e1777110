package network

import (
	"fmt"
	"io"
	"os"
)

// maxCommandLine is how much of a command line is read.
const maxCommandLine = 128 << 10

// CommandLine reads what a process says that its arguments are, proc_pid_cmdline(5), each
// with a zero behind it; of very long ones the beginning. The process says it: by
// PR_SET_MM_MAP, prctl(2), anybody may make it all of an address space.
func CommandLine(pid int) ([]byte, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxCommandLine))
}
