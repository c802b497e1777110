package program_test

import (
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/minictr/minictr/runtime/program"
	"golang.org/x/sys/unix"
)

func run(t *testing.T, p *program.Program, o program.Options) (status unix.WaitStatus, report error) {
	t.Helper()
	proc, err := program.Start(p, o)
	if err != nil {
		t.Fatal(err)
	}
	_, report = proc.Receive()
	proc.Close()
	if _, err := unix.Wait4(proc.Pid, &status, 0, nil); err != nil {
		t.Fatal(err)
	}
	unix.Close(proc.Pidfd)
	return status, report
}

func shell(p *program.Program, script string) {
	p.Add(program.UnblockSignals())
	p.Task("run sh", "sh")
	p.Add(program.Execve("/bin/sh", []string{"sh", "-c", script}, []string{"PATH=/bin:/usr/bin"}))
}

func TestExecve(t *testing.T) {
	var p program.Program
	shell(&p, "exit 42")
	status, report := run(t, &p, program.Options{})
	if !errors.Is(report, io.EOF) || status.ExitStatus() != 42 {
		t.Fatalf("report %v, exit status %d", report, status.ExitStatus())
	}
}

func TestFailureNamesTheOperation(t *testing.T) {
	var p program.Program
	dir := p.Slot()
	p.Task("open the root", "")
	p.Add(program.Openat2(program.CurrentDirectory(), "/", unix.O_PATH, 0, 0).Into(dir))
	p.Task("open a file that is not there", "cat /nonexistent")
	p.Add(program.Openat2(dir, "nonexistent", unix.O_RDONLY, 0, program.InRoot))
	shell(&p, "exit 0")
	status, report := run(t, &p, program.Options{})
	if want := "open a file that is not there: openat2: no such file or directory"; report == nil || report.Error() != want {
		t.Errorf("got %v, want %s", report, want)
	}
	if !errors.Is(report, unix.ENOENT) || status.ExitStatus() != 127 {
		t.Errorf("errno %v, status %d", report, status.ExitStatus())
	}
}

func TestEveryOperationCanFail(t *testing.T) {
	var p program.Program
	dir := p.Slot()
	p.Task("one", "")
	p.Add(program.Openat2(program.CurrentDirectory(), "/", unix.O_PATH, 0, 0).Into(dir))
	p.Task("two", "")
	p.Add(program.Fchdir(dir), program.Umask(0o22))
	shell(&p, "exit 0")
	for i, o := range p.Ops {
		_, report := run(t, p.FailAt(i), program.Options{})
		var e *program.Error
		if !errors.As(report, &e) || e.Index != i || e.Op.Name != o.Name || !errors.Is(e, unix.ENOSYS) {
			t.Errorf("operation %d, %s: %v", i, o.Name, report)
		}
	}
}

func TestAcceptedErrno(t *testing.T) {
	var p program.Program
	p.Add(program.Mkdirat(program.CurrentDirectory(), "/", 0o755).Except(unix.EEXIST))
	shell(&p, "exit 3")
	if status, report := run(t, &p, program.Options{}); !errors.Is(report, io.EOF) || status.ExitStatus() != 3 {
		t.Fatalf("report %v, exit status %d", report, status.ExitStatus())
	}
}

func TestForkInTheProgram(t *testing.T) {
	// The first child forks a second one and exits; the second is its sibling.
	var p program.Program
	pid := p.Slot()
	p.Add(program.Clone3(unix.CLONE_PARENT, 0, 0, 3).Into(pid))
	shell(&p, "exit 7")
	p.Add(program.Report(pid), program.ExitGroup(0))
	proc, err := program.Start(&p, program.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	second, err := proc.Receive()
	if err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(int(second), &status, 0, nil); err != nil || status.ExitStatus() != 7 {
		t.Errorf("second child: %v, status %d", err, status.ExitStatus())
	}
	if _, err := unix.Wait4(proc.Pid, &status, 0, nil); err != nil || status.ExitStatus() != 0 {
		t.Errorf("first child: %v, status %d", err, status.ExitStatus())
	}
	if _, err := proc.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("report %v, want the end", err)
	}
}

func TestObserve(t *testing.T) {
	var p program.Program
	p.Task("set the mask", "umask 022")
	p.Add(program.Umask(0o22))
	shell(&p, "exit 0")
	var events []program.Event
	run(t, &p, program.Options{Observe: func(e program.Event) { events = append(events, e) }})
	if len(events) != len(p.Ops)-1 { // execve does not come back
		t.Fatalf("%d events for %d operations", len(events), len(p.Ops))
	}
	for i, e := range events {
		if e.Index != i || e.Op.Name != p.Ops[i].Name || e.Took <= 0 {
			t.Errorf("event %d: %+v", i, e)
		}
	}
}

// throughStub runs one of the candidates through the launch stub.
func throughStub(t *testing.T, candidates, argv []string) (unix.WaitStatus, error) {
	t.Helper()
	stub, err := program.OpenStub()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(stub)
	var p program.Program
	p.Task("run "+argv[0], argv[0])
	high := p.Slot()
	p.Add(
		program.DupAbove(program.Number(stub), 32).Into(high),
		program.Dup3(program.ReportPipe{}, 3, 0),
		program.UnblockSignals(),
		program.ExecveStub(high, program.StubArgv(3, 0, candidates, argv), []string{"A=b"}),
	)
	return run(t, &p, program.Options{})
}

func TestStub(t *testing.T) {
	script := t.TempDir() + "/script"
	if err := os.WriteFile(script, []byte("not executable"), 0o644); err != nil {
		t.Fatal(err)
	}
	text := t.TempDir() + "/text"
	if err := os.WriteFile(text, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		candidates []string
		err        error
	}{
		{"second candidate", []string{"/nonexistent/sh", "/bin/sh"}, io.EOF},
		{"none", []string{"/nonexistent/sh", "/dev/null/sh"}, unix.ENOENT},
		{"no candidate", nil, unix.ENOENT},
		{"not executable", []string{script, "/nonexistent"}, unix.EACCES},
		{"no program", []string{text, "/bin/sh"}, unix.ENOEXEC},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, report := throughStub(t, c.candidates, []string{"sh", "-c", `test "$A" = b && test "$0" = sh && ! test -e /proc/self/fd/3 && exit 9`})
			if !errors.Is(report, c.err) {
				t.Errorf("report %v, want %v", report, c.err)
			}
			if want := map[bool]int{true: 9, false: 127}[errors.Is(c.err, io.EOF)]; status.ExitStatus() != want {
				t.Errorf("status %d, want %d", status.ExitStatus(), want)
			}
		})
	}
}

// A script that names /proc/self/exe as its interpreter gets the stub, never the
// program on the host that started it (CVE-2019-5736).
func TestStubHidesTheHostsProgram(t *testing.T) {
	script := t.TempDir() + "/script"
	if err := os.WriteFile(script, []byte("#!/proc/self/exe\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	status, _ := throughStub(t, []string{script}, []string{"script"})
	// The stub gets "/proc/self/exe" as argv[0] and exits by itself.
	if status.ExitStatus() != 127 {
		t.Errorf("status %#x, want exit status 127 of the stub", status)
	}
}

func TestStubWaits(t *testing.T) {
	for _, c := range []struct {
		release bool
		status  int
	}{{true, 9}, {false, 127}} {
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		stub, err := program.OpenStub()
		if err != nil {
			t.Fatal(err)
		}
		var p program.Program
		p.Add(
			program.Close(program.Number(pipe[1])),
			program.DupAbove(program.Number(stub), 32).Into(p.Slot()),
			program.DupAbove(program.Number(pipe[0]), 32).Into(p.Slot()),
			program.Dup3(program.ReportPipe{}, 3, 0),
			program.Dup3(program.Slot(2), 4, 0),
			program.UnblockSignals(),
			program.ExecveStub(program.Slot(1), program.StubArgv(3, 4, []string{"/bin/sh"}, []string{"sh", "-c", "test -e /proc/self/fd/4 || exit 9"}), nil),
		)
		proc, err := program.Start(&p, program.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if c.release {
			unix.Write(pipe[1], []byte{1})
		}
		unix.Close(pipe[1])
		if _, err := proc.Receive(); !errors.Is(err, io.EOF) {
			t.Errorf("release %v: %v", c.release, err)
		}
		var status unix.WaitStatus
		unix.Wait4(proc.Pid, &status, 0, nil)
		if status.ExitStatus() != c.status {
			t.Errorf("release %v: status %d, want %d", c.release, status.ExitStatus(), c.status)
		}
		proc.Close()
		for _, fd := range []int{proc.Pidfd, pipe[0], stub} {
			unix.Close(fd)
		}
	}
}

func BenchmarkLaunch(b *testing.B) {
	var p program.Program
	p.Add(program.UnblockSignals(), program.Execve("/bin/true", []string{"true"}, nil))
	for b.Loop() {
		proc, err := program.Start(&p, program.Options{Flags: unix.CLONE_NEWPID})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := proc.Receive(); !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
		var status unix.WaitStatus
		unix.Wait4(proc.Pid, &status, 0, nil)
		proc.Close()
		unix.Close(proc.Pidfd)
	}
}

func BenchmarkLaunchByStub(b *testing.B) {
	for b.Loop() {
		stub, err := program.OpenStub()
		if err != nil {
			b.Fatal(err)
		}
		var p program.Program
		p.Add(program.Dup3(program.ReportPipe{}, 3, 0), program.UnblockSignals(),
			program.ExecveStub(program.Number(stub), program.StubArgv(3, 0, []string{"/bin/true"}, []string{"true"}), nil))
		proc, err := program.Start(&p, program.Options{Flags: unix.CLONE_NEWPID})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := proc.Receive(); !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
		var status unix.WaitStatus
		unix.Wait4(proc.Pid, &status, 0, nil)
		proc.Close()
		unix.Close(proc.Pidfd)
		unix.Close(stub)
	}
}

// With its stops a program does the same: without them it is the same again, and a
// parent of clone3 goes on where it did.
func TestPausing(t *testing.T) {
	p := &program.Program{}
	p.Task("first", "one")
	pid := p.Slot()
	p.Add(program.Setsid(), program.Clone3(0, 0, 0, 4).Into(pid))
	p.Task("second", "")
	p.Add(program.Fchdir(program.Number(5)), program.Setsid())
	p.Task("third", "")
	p.Add(program.Setsid(), program.ExitGroup(0))
	q := p.Pausing(7, 8)
	if err := q.Validate(); err != nil {
		t.Fatal(err)
	}
	var without []string
	for i, o := range q.Ops {
		if o.Name == "write" || o.Name == "read" {
			continue
		}
		without = append(without, o.Name)
		if o.Words != "" && (q.Ops[i-1].Name != "read" || q.Ops[i-2].Name != "write") {
			t.Errorf("no stop before %s", o.Words)
		}
		if o.Parent != 0 && q.Ops[o.Parent+2].Words != "third" {
			t.Errorf("the parent goes on at %s", q.Ops[o.Parent])
		}
	}
	var want []string
	for _, o := range p.Ops {
		want = append(want, o.Name)
	}
	if !slices.Equal(without, want) || len(q.Ops) != len(p.Ops)+6 {
		t.Errorf("%v, want %v", without, want)
	}
}
