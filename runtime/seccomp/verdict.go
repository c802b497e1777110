package seccomp

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A verdict is what a filter returns: an action in the upper 16 bits and the
// action's data in the lower ones (seccomp(2), SECCOMP_RET_DATA).
type verdict uint32

const (
	actionBits verdict = 0xffff0000

	killThread  verdict = unix.SECCOMP_RET_KILL_THREAD
	killProcess verdict = unix.SECCOMP_RET_KILL_PROCESS
	trap        verdict = unix.SECCOMP_RET_TRAP
	errno       verdict = unix.SECCOMP_RET_ERRNO
	notify      verdict = unix.SECCOMP_RET_USER_NOTIF
	trace       verdict = unix.SECCOMP_RET_TRACE
	logged      verdict = unix.SECCOMP_RET_LOG
	allow       verdict = unix.SECCOMP_RET_ALLOW

	noSuchCall = errno | verdict(unix.ENOSYS)
)

// actions are the action names of OCI runtime-spec, config-linux.md, "Seccomp".
var actions = [...]struct {
	name    specs.LinuxSeccompAction
	verdict verdict
	data    uint // largest errnoRet; 0 if the action takes none
	permits bool // the call is made, or a tracer decides
}{
	{specs.ActKill, killThread, 0, false},
	{specs.ActKillThread, killThread, 0, false},
	{specs.ActKillProcess, killProcess, 0, false},
	{specs.ActTrap, trap, 0, false},
	{specs.ActErrno, errno, 4095, false}, // MAX_ERRNO: the kernel would cut off larger ones
	{specs.ActTrace, trace, 0xffff, true},
	{specs.ActAllow, allow, 0, true},
	{specs.ActLog, logged, 0, true},
	{specs.ActNotify, notify, 0, false},
}

// parseAction returns the verdict of an action and its errnoRet, which may be
// nil. The error's field is "action" or "errnoRet".
func parseAction(name specs.LinuxSeccompAction, data *uint) (verdict, *FieldError) {
	for _, a := range actions {
		if a.name != name {
			continue
		}
		switch {
		case a.data == 0 && data != nil:
			// OCI runtime-spec: "When the action doesn't support an errno, the
			// runtime MUST print an error and fail."
			return 0, fieldError("errnoRet", "%s takes no errno", name)
		case a.data == 0:
			return a.verdict, nil
		case data == nil:
			return a.verdict | verdict(unix.EPERM), nil
		case *data > a.data:
			return 0, fieldError("errnoRet", "%d is larger than %d", *data, a.data)
		}
		return a.verdict | verdict(*data), nil
	}
	return 0, fieldError("action", "unknown action %q", name)
}

// permits says whether a call with this verdict may be carried out. TRACE
// counts: a tracer that knows the call should see it.
func (v verdict) permits() bool {
	for _, a := range actions {
		if v&actionBits == a.verdict {
			return a.permits
		}
	}
	return false
}
