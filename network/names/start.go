package names

import (
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// program is the server, which lies beside minictr.
const program = "minictr-dns"

// Start makes sure that the network has a name server. When it has, that costs some
// microseconds. Otherwise Start binds port 53 of the gateway's addresses, of which
// the zero Addr is none, and lets minictr-dns go: in a session of its own, with
// nothing of the caller's but the sockets and the lock. It does not wait for it.
//
// The container's record must be there already (AddName). After an error the
// network has no server, and its containers should be given other ones; a
// PortInUseError says who has the port. A server that was killed is replaced by the
// next Start.
func Start(runroot, network string, addresses []netip.Addr, bridge string) error {
	return step.Fail("start the name server of network", network, start(runroot, network, addresses, bridge))
}

func start(runroot, network string, addresses []netip.Addr, bridge string) error {
	if err := valid(network); err != nil {
		return err
	}
	lock, err := claim(Directory(runroot, network))
	if err != nil || lock == nil {
		return err
	}
	defer lock.Close() // a directory: nothing is lost with it
	sockets, err := Listen(addresses)
	if err != nil {
		return err
	}
	defer closeAll(sockets)
	return spawn(runroot, network, bridge, append([]*os.File{lock}, sockets...))
}

// spawn starts the server. Its descriptors are 3, the lock, and from 4 on the sockets.
//
//	minictr run ──► minictr-dns start … ──► minictr-dns serve …
//	     │               │ exits at once         │ belongs to init
//	     └─ reaps it ────┘                       ▼
//
// The server is nobody's child, so it does not become the zombie of a minictr run
// that lives longer.
func spawn(runroot, network, bridge string, files []*os.File) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if runroot, err = filepath.Abs(runroot); err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close() // nothing was written to it
	argv := []string{program, "start", strconv.Itoa(len(files) - 1), runroot, network, bridge}
	p, err := os.StartProcess(filepath.Join(filepath.Dir(self), program), argv, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{}, // nil would be the caller's
		Files: append([]*os.File{null, null, null}, files...),
		Sys:   &syscall.SysProcAttr{Setsid: true}, // out of reach of the terminal's signals
	})
	if err != nil {
		return err
	}
	go p.Wait() //nolint:errcheck // how it ended is seen by whether there is a server
	return nil
}

// Passed returns the descriptors that Start has passed to this process: the lock
// and the given number of sockets. Others that it has inherited, of whoever started
// the starter, go with the next execve(2).
func Passed(sockets int) (lock *os.File, bound []*os.File, err error) {
	const first = 3
	if err := unix.CloseRange(first, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("close_range", err)
	}
	for i := range sockets {
		bound = append(bound, os.NewFile(uintptr(first+1+i), "socket"))
	}
	return os.NewFile(first, "lock"), bound, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // a socket: nothing is lost with it
	}
}
