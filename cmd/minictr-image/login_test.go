package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

// startBasic is a registry that knows alice by her password.
func startBasic(t *testing.T) string {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "alice" || password != "s3cret" {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(s.Close)
	host := s.Listener.Addr().String()
	conf := t.TempDir() + "/registries.conf"
	check(t, os.WriteFile(conf, fmt.Appendf(nil, "[[registry]]\nlocation = %q\ninsecure = true\n", host), 0o600))
	t.Setenv("MINICTR_REGISTRIES_CONF", conf)
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	return host
}

// openTerminal returns both ends of a new pseudoterminal (pts(4)).
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)
	t.Cleanup(func() { master.Close() })
	check(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	check(t, err)
	slave, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	check(t, err)
	return state.Lflag&unix.ECHO != 0
}

// TestLoginOnTerminal: user name and password are asked for, the password without
// an echo, which is back afterwards, whatever happens.
func TestLoginOnTerminal(t *testing.T) {
	host := startBasic(t)
	for _, c := range []struct {
		name, user, password string
		signal               os.Signal
		code                 int
		want                 string
	}{
		{"right", "alice\n", "s3cret\n", nil, 0, "Login Succeeded"},
		{"wrong", "alice\n", "guess\n", nil, 1, "does not accept this user name and password (401 Unauthorized)"},
		{"empty", "alice\n", "\n", nil, 1, "password is empty"},
		{"no name", "\x04", "", nil, 1, "no answer"},
		{"interrupted", "alice\n", "", unix.SIGINT, 1, "interrupted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			master, slave := openTerminal(t)
			said := &lockedBuffer{}
			go func() { _, _ = io.Copy(said, master) }() // ends with the terminal
			child := program("login", host)
			child.Stdin, child.Stdout, child.Stderr = slave, slave, slave
			check(t, child.Start())
			t.Cleanup(func() { _ = child.Process.Kill() }) // mostly it has ended
			await := func(text string, echo bool) {
				t.Helper()
				kernel.Eventually(t, 10*time.Second, func() error {
					if strings.Contains(said.String(), text) && echoes(t, slave) == echo {
						return nil
					}
					return fmt.Errorf("%q, echo %v", said.String(), echoes(t, slave))
				})
			}
			await("Username: ", true)
			_, err := master.WriteString(c.user)
			check(t, err)
			if c.name != "no name" {
				await("Password: ", false)
			}
			if _, err = master.WriteString(c.password); c.signal != nil {
				err = child.Process.Signal(c.signal)
			}
			check(t, err)
			_ = child.Wait() // judged by its exit code
			await(c.want, true)
			if code := child.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if secret := strings.TrimSpace(c.password); len(secret) > 1 && strings.Contains(said.String(), secret) {
				t.Errorf("the password was shown: %q", said.String())
			}
		})
	}
}

// TestLoginUsage: what is missing is named before anybody is asked anything.
func TestLoginUsage(t *testing.T) {
	host := startBasic(t)
	for args, want := range map[string]string{
		"login " + host:                            "minictr: log in to " + host + ": standard input is no terminal to ask for a password on\nhint: give --username and --password-stdin\n",
		"login --password-stdin " + host:           "minictr: log in to " + host + ": --password-stdin needs a user name\nhint: give it with --username\n",
		"login -u a --password-stdin " + host:      "minictr: log in to " + host + ": password on standard input is empty\n",
		"login -u a --password-stdin a.b/c":        "minictr: registry \"a.b/c\": must be HOST[:PORT]\n",
		"logout a.b/c":                             "minictr: registry \"a.b/c\": must be HOST[:PORT]\n",
		"logout --registries-conf /none " + host:   "minictr: log out of " + host + ": open /none: no such file or directory\n",
		"pull --registries-conf /none a.example/b": "minictr: pull a.example/b:latest: open /none: no such file or directory\n",
	} {
		if _, stderr, err := run(t, t.TempDir(), strings.Fields(args)...); err == nil || stderr != want {
			t.Errorf("%s:\n got %swant %s", args, stderr, want)
		}
	}
	if stdout, stderr, err := run(t, t.TempDir(), "logout", host); err != nil || stdout != "Not logged in to "+host+"\n" {
		t.Errorf("%q, %s", stdout, stderr)
	}
}

// A lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write adds to it.
func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
