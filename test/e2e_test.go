package test

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

// The scripts in testdata/script are the command line's tests, one file a
// feature or a bug. Beside testscript's own commands they have
//
//	exec minictr …           minictr with directories and namespaces of the script
//	code N COMMAND…          it ends with exit code N
//	until PATTERN COMMAND…   it is run again until its output matches
//	! until PATTERN COMMAND… or until it fails
//	signal NAME N COMMAND…   it gets the signal after its first line of output,
//	                         and ends with exit code N
//	lines N                  the last output has that many lines
//
// and an image called alpine. At a script's end its containers are removed, and
// nothing of them may be left.
func TestScripts(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "nsenter", "cp")
	kernel.Snapshot(t)
	programs := kernel.Programs(t)
	image := importImage(t, programs)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            time.Now().Add(scriptsLimit), // a command that hangs is ended then
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": checkCode, "until": retry, "lines": countLines, "signal": signalCommand,
		},
		Setup: func(e *testscript.Env) error { return setUp(e, programs, image) },
	})
}

// scriptsLimit is several times what all scripts take.
const scriptsLimit = 4 * time.Minute

// importImage makes a store with the image alpine: the real one where
// ../shared/images has it, else one of the machine's static busybox.
func importImage(t *testing.T, programs string) (root string) {
	t.Helper()
	root = t.TempDir()
	archives, err := filepath.Glob("../../shared/images/alpine-minirootfs-*.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	if len(archives) == 0 {
		archives = []string{busyboxArchive(t)}
	}
	c := exec.Command(programs+"/minictr", "--root", root, "import", "--change", `CMD ["/bin/sh"]`, archives[0], "alpine")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("import %s: %v\n%s", archives[0], err, out)
	}
	return root
}

// busyboxArchive makes a root file system like Alpine's as far as the scripts
// can tell.
func busyboxArchive(t *testing.T) string {
	t.Helper()
	kernel.RequireCommand(t, "busybox", "tar")
	dir := t.TempDir()
	script := `
		mkdir -p root/bin root/etc root/tmp root/root root/proc root/sys root/dev root/home
		chmod 1777 root/tmp
		cp "$(command -v busybox)" root/bin/busybox
		for name in $(busybox --list); do [ $name = busybox ] || ln -s busybox root/bin/$name; done
		echo 'root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/:/sbin/nologin' > root/etc/passwd
		echo 'root:x:0:
nobody:x:65534:' > root/etc/group
		tar -C root -cf rootfs.tar .`
	c := exec.Command("sh", "-ec", script)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("make a root file system: %v\n%s", err, out)
	}
	return dir + "/rootfs.tar"
}

// setUp gives the script a copy of the store (of hard links: layers are never
// written to), namespaces, and a command minictr that knows them.
func setUp(e *testscript.Env, programs, image string) error {
	dir, err := os.MkdirTemp(e.WorkDir, ".minictr")
	if err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-al", image, dir+"/root").CombinedOutput(); err != nil {
		return fmt.Errorf("copy the image: %w: %s", err, out)
	}
	if err := ownLocks(dir + "/root/images"); err != nil {
		return err
	}
	s := &scriptHost{dir: dir, programs: programs}
	if err := s.makeNamespaces(); err != nil {
		return err
	}
	up := exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), s.net.Fd()), "ip", "link", "set", "lo", "up")
	if out, err := up.CombinedOutput(); err != nil {
		return fmt.Errorf("switch lo on: %w: %s", err, out)
	}
	command := fmt.Sprintf("#!/bin/sh\nexec nsenter --net=/proc/%d/fd/%d --mount=/proc/%[1]d/fd/%[3]d "+
		"sh -c 'cd \"$0\" && exec \"$@\"' \"$PWD\" %[4]s/minictr --root %[5]s/root --runroot %[5]s/run \"$@\"\n",
		os.Getpid(), s.net.Fd(), s.mnt.Fd(), programs, dir)
	if err := os.Mkdir(dir+"/bin", 0o755); err != nil {
		return err
	}
	if err := kernel.WriteProgram(dir+"/bin/minictr", command); err != nil {
		return err
	}
	e.Setenv("PATH", dir+"/bin:"+os.Getenv("PATH"))
	e.Setenv("ROOT", dir+"/root")
	e.Setenv("RUNROOT", dir+"/run")
	e.Defer(func() {
		if err := s.leave(); err != nil {
			e.T().Log(err)
			e.T().FailNow()
		}
	})
	return nil
}

// ownLocks gives a copy of a store lock files of its own: flock(2) is on the inode,
// and the scripts run side by side.
func ownLocks(images string) error {
	for _, name := range []string{"lock", "adding"} {
		file := filepath.Join(images, name)
		if err := errors.Join(os.Remove(file), os.WriteFile(file, nil, 0o600)); err != nil {
			return err
		}
	}
	return nil
}

// scriptHost is what a script takes for its machine.
type scriptHost struct {
	dir, programs string
	net, mnt      *os.File
	mounts        int // in its mount namespace, before the script
}

// makeNamespaces makes a network and a mount namespace. The thread that has
// been in them is never used again.
func (s *scriptHost) makeNamespaces() error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- s.unshare()
	}()
	return <-done
}

func (s *scriptHost) unshare() (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	// Of the namespace that this thread is in. Otherwise the first container of
	// each script would switch it on, and say so.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if s.net, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	if s.mnt, err = os.Open("/proc/thread-self/ns/mnt"); err != nil {
		return err
	}
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	s.mounts = strings.Count(string(text), "\n")
	return err
}

// leave removes the script's containers and reports what is left of them.
func (s *scriptHost) leave() error {
	defer s.net.Close()
	defer s.mnt.Close()
	ids, err := s.minictr("ps", "-aq")
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		if _, err := s.minictr(append([]string{"rm", "-f"}, ids...)...); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := s.residue()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond) // namespaces die in the background
	}
}

func (s *scriptHost) minictr(args ...string) ([]string, error) {
	c := exec.Command(s.dir+"/bin/minictr", args...)
	out, err := c.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("minictr %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.Fields(string(out)), nil
}

// residue is an error that names what is there although no container is.
func (s *scriptHost) residue() error {
	var errs []error
	for _, dir := range []string{"root/containers", "root/names", "run/containers"} {
		entries, err := os.ReadDir(filepath.Join(s.dir, dir))
		if err != nil && !os.IsNotExist(err) {
			errs = append(errs, err)
		}
		for _, entry := range entries {
			errs = append(errs, fmt.Errorf("left behind: %s/%s", dir, entry.Name()))
		}
	}
	script := `sed -n 's/:.*//p' /proc/thread-self/net/dev; wc -l < /proc/thread-self/mountinfo`
	c := exec.Command("nsenter", "--net="+fdPath(s.net), "--mount="+fdPath(s.mnt), "sh", "-c", script)
	out, err := c.Output()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	words := strings.Fields(string(out))
	links, mounts := words[:len(words)-1], words[len(words)-1]
	for _, link := range links {
		if link != "lo" && link != "minictr0" {
			errs = append(errs, fmt.Errorf("left behind: link %s", link))
		}
	}
	if mounts != strconv.Itoa(s.mounts) {
		errs = append(errs, fmt.Errorf("left behind: %s mounts, where %d were", mounts, s.mounts))
	}
	return errors.Join(errs...)
}

func fdPath(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }

// checkCode runs a command and compares its exit code.
func checkCode(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || err != nil || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND…")
	}
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	got := 0
	if exit != nil {
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// retry runs a command until its output matches or, with !, until it fails.
func retry(ts *testscript.TestScript, neg bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[0])
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c := exec.Command(scriptProgram(ts, args[1]), args[2:]...)
		var errs strings.Builder
		c.Stderr = &errs
		out, err := c.Output()
		if neg && err != nil || !neg && err == nil && pattern.Match(out) {
			_, err = ts.Stdout().Write(out)
			ts.Check(err)
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("still not so after 10 s: %v\n%s%s", err, out, errs.String())
		}
	}
}

// scriptProgram is the path of a program as the script sees it.
func scriptProgram(ts *testscript.TestScript, name string) string {
	return filepath.Join(filepath.Dir(ts.Getenv("ROOT")), "bin", name)
}

// countLines compares the number of lines that the last command printed.
func countLines(ts *testscript.TestScript, neg bool, args []string) {
	got := strings.Count(ts.ReadFile("stdout"), "\n")
	if strconv.Itoa(got) != args[0] != neg {
		ts.Fatalf("%d lines", got)
	}
}

// signalCommand runs a command, sends it a signal when it has written its first
// line, and leaves its output and exit code for stdout and code.
func signalCommand(ts *testscript.TestScript, neg bool, args []string) {
	number := unix.SignalNum("SIG" + args[0])
	want, err := strconv.Atoi(args[1])
	if neg || err != nil || number == 0 {
		ts.Fatalf("usage: signal NAME CODE COMMAND…")
	}
	c := exec.Command(scriptProgram(ts, args[2]), args[3:]...)
	out, err := c.StdoutPipe()
	ts.Check(err)
	c.Stderr = ts.Stderr()
	ts.Check(c.Start())
	buffer := make([]byte, 4096)
	n, err := out.Read(buffer)
	if n == 0 {
		ts.Fatalf("it has written nothing: %v", err)
	}
	ts.Check(c.Process.Signal(number))
	rest := new(strings.Builder)
	for {
		m, err := out.Read(buffer[n:])
		rest.Write(buffer[n : n+m])
		if err != nil {
			break
		}
	}
	_ = c.Wait() // the code tells
	fmt.Fprintf(ts.Stdout(), "%s%s", buffer[:n], rest)
	if got := c.ProcessState.ExitCode(); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// A program that executes templates keeps every exported method of every type,
// which costs each start of minictr 0.1 ms: minictr-format does it instead.
func TestMinictrExecutesNoTemplates(t *testing.T) {
	kernel.RequireCommand(t, "go")
	linked := func(program string) bool {
		binary := filepath.Join(t.TempDir(), program)
		c := exec.Command("go", "build", "-o", binary, "../cmd/"+program)
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		file, err := elf.Open(binary)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		symbols, err := file.Symbols()
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == "reflect.Value.MethodByName" })
	}
	if linked("minictr") {
		t.Error("minictr has reflect.Value.MethodByName: something executes a template")
	}
	if !linked("minictr-format") {
		t.Error("minictr-format does not have reflect.Value.MethodByName: this test looks for the wrong thing")
	}
}
