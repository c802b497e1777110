package netapplet

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestNc(t *testing.T) {
	a, b := newPair(t)
	server := b.start("from the server\n", "nc", "-l", "-v", "8000")
	b.listens("8000")
	client := a.start("from the client\n", "nc", "10.0.1.2", "8000").wait()
	if got := server.wait(); client.out != "from the server\n" || got.out != "from the client\n" || client.code+got.code != 0 {
		t.Errorf("client: %+v\nserver: %+v", client, got)
	} else if !strings.Contains(got.err, "Connection received on 10.0.1.1 ") {
		t.Errorf("-v: %q", got.err)
	}
	refused := a.run("nc", "10.0.1.2", "8000")
	if want := "nc: connect to 10.0.1.2 port 8000 (tcp): connection refused\n"; refused.code != 1 || refused.err != want {
		t.Errorf("nobody there: %+v", refused)
	}
	if r := a.run("nc", "-w", "0.2", "10.0.1.77", "80"); r.code != 1 || !strings.Contains(r.err, "timed out") {
		t.Errorf("-w: %+v", r)
	}
}

func TestNcKeepsListening(t *testing.T) {
	a, b := newPair(t)
	server := b.start("", "nc", "-kl", "-p", "8000")
	b.listens("8000")
	large := strings.Repeat("0123456789abcdef", 1<<16)
	for _, text := range []string{"one\n", large, "three\n"} {
		if r := a.start(text, "nc", "10.0.1.2", "8000").wait(); r.code != 0 {
			t.Errorf("%+v", r)
		}
	}
	server.until("three")
	if got := server.signal(syscall.SIGTERM); got.out != "one\n"+large+"three\n" {
		t.Errorf("it has received %d bytes", len(got.out))
	}
}

func TestNcScansPorts(t *testing.T) {
	a, b := newPair(t)
	b.start("", "nc", "-kl", "8001")
	b.listens("8001")
	want := `nc: connect to 10.0.1.2 port 8000 (tcp): connection refused
Connection to 10.0.1.2 port 8001 (tcp) succeeded!
nc: connect to 10.0.1.2 port 8002 (tcp): connection refused
`
	if r := a.run("nc", "-zv", "10.0.1.2", "8000-8002"); r.code != 0 || r.err != want {
		t.Errorf("%+v", r)
	}
	if r := a.run("nc", "-zu", "10.0.1.2", "53"); r.code != 1 || !strings.Contains(r.err, "connection refused") {
		t.Errorf("UDP: %+v", r)
	}
}

func TestNcUDPAndUnix(t *testing.T) {
	a, b := newPair(t)
	server := b.start("pong\n", "nc", "-lu", "-w", "2", "-v", "5000")
	server.until("Listening")
	if r := a.start("ping\n", "nc", "-u", "10.0.1.2", "5000").wait(); r.out != "pong\n" || r.code != 0 {
		t.Errorf("client: %+v", r)
	}
	if r := server.wait(); r.out != "ping\n" || r.code != 0 {
		t.Errorf("server: %+v", r)
	}
	path := filepath.Join(t.TempDir(), "socket")
	local := a.start("", "nc", "-lUv", path)
	local.until("Listening")
	if r := a.start("by a path\n", "nc", "-U", path).wait(); r.code != 0 {
		t.Errorf("client: %+v", r)
	}
	if r := local.wait(); r.out != "by a path\n" {
		t.Errorf("server: %+v", r)
	}
}

func TestWgetAndHttpd(t *testing.T) {
	a, b := newPair(t)
	dir := t.TempDir()
	content := bytes.Repeat([]byte("content "), 100_000)
	if err := os.WriteFile(filepath.Join(dir, "file"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	hello, files := b.start("", "httpd"), b.start("", "httpd", "-p", "8000", "-h", dir)
	b.listens("80")
	b.listens("8000")

	if got := a.ok("wget", "-qO-", "10.0.1.2"); !regexp.MustCompile(`^hello from \S+: I am 10\.0\.1\.2:80, you are 10\.0\.1\.1:\d+\n$`).MatchString(got) {
		t.Errorf("hello: %q", got)
	}
	hello.until("GET / 200 ")
	to := filepath.Join(t.TempDir(), "copy")
	a.ok("wget", "-q", "-O", to, "http://10.0.1.2:8000/file")
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%v, %d bytes of %d", err, len(got), len(content))
	}
	files.until(fmt.Sprintf("GET /file 200 %d\n", len(content)))
	if !regexp.MustCompile(`\d\d:\d\d:\d\d\.\d{3} 10\.0\.1\.1:\d+ GET /file 200 `).MatchString(files.out.String()) {
		t.Errorf("the log: %s", files.out)
	}
	for args, code := range map[string]int{
		"http://10.0.1.2:8000/nosuch": 8, "http://10.0.1.2:9/": 4, "-T 0.2 http://10.0.1.77/": 4, "-O /nosuch/file http://10.0.1.2/": 3,
		"ftp://10.0.1.2/": 1, "https://10.0.1.2:80/": 4, "--ca-certificate /nosuch http://10.0.1.2/": 3, "": 2,
	} {
		if r := a.run("wget", strings.Fields("-q "+args)...); r.code != code || r.err == "" {
			t.Errorf("wget %s: exit code %d, want %d, %q", args, r.code, code, r.err)
		}
	}
	if r := hello.signal(syscall.SIGTERM); r.code != 0 {
		t.Errorf("httpd ends with %d: %s", r.code, r.err)
	}
}

// What wget sends, seen by a server of another kind.
func TestWgetRequests(t *testing.T) {
	a, _ := newPair(t)
	url := serveTLS(t, a, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/from" {
			http.Redirect(w, r, "/to", http.StatusFound)
			return
		}
		body, err := io.ReadAll(r.Body)
		fmt.Fprint(w, r.Method, " ", r.URL.Path, " ", r.Header.Get("X-One"), " ", r.Host, " ", string(body), err)
	})
	certificate := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: url.certificate}), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{url.base + "/x"}, "", 5},
		{[]string{"--no-check-certificate", url.base + "/from"}, "GET /to  " + url.host + " <nil>", 0},
		{[]string{"--ca-certificate", certificate, "--header", "X-One: two", "--header", "Host: name", url.base + "/x"}, "GET /x two name <nil>", 0},
		{[]string{"--no-check-certificate", "--post-data", "a=b", url.base + "/x"}, "POST /x  " + url.host + " a=b<nil>", 0},
	} {
		if r := a.run("wget", append([]string{"-q", "-O", "-"}, c.args...)...); r.out != c.want || r.code != c.code {
			t.Errorf("wget %q: %+v, want %q", c.args, r, c.want)
		}
	}
	if r := a.run("wget", "-S", "--spider", "--no-check-certificate", url.base+"/x"); r.code != 0 || !strings.Contains(r.err, "  HTTP/") || !strings.Contains(r.err, "  Date: ") {
		t.Errorf("-S: %+v", r)
	}
}

type served struct {
	base, host  string
	certificate []byte
}

// serveTLS serves on the host's loopback, for which httptest's certificate is made.
func serveTLS(t *testing.T, h *host, f http.HandlerFunc) served {
	t.Helper()
	s := httptest.NewUnstartedServer(f)
	if err := s.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	h.Do(t, func() {
		var err error
		if s.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	})
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return served{s.URL, s.Listener.Addr().String(), s.Certificate().Raw}
}

func TestSpeed(t *testing.T) {
	a, b := newPair(t)
	server := b.start("", "speed", "-s")
	server.until("listening on port 5201")
	for _, args := range []string{"", "-R", "-P 3", "-P 2 -R", "-u -b 5M", "-u -b 5M -R"} {
		r := a.run("speed", append([]string{"-c", "10.0.1.2", "-t", "1.2"}, strings.Fields(args)...)...)
		last := regexp.MustCompile(`0\.00-1\.[0-9]+ +s +([0-9.]+) (.)Byte +([0-9.]+) (.)bit/s  (sent|received)(.*)`).FindAllStringSubmatch(r.out, -1)
		if r.code != 0 || len(last) != 2 || last[0][5] != "sent" || last[1][5] != "received" {
			t.Errorf("speed %s: %+v", args, r)
			continue
		}
		if !strings.Contains(r.out, "0.00-1.0") {
			t.Errorf("speed %s: no interval\n%s", args, r.out)
		}
		if strings.Contains(args, "-u") && (last[1][3] < "4" || last[1][4] != "M" || !strings.Contains(last[1][6], "lost 0/")) {
			t.Errorf("speed %s: %q", args, last)
		}
	}
	if r := a.run("speed", "-c", "10.0.1.2", "-p", "9"); r.code != 1 || r.err != "speed: connect to 10.0.1.2:9: connection refused\n" {
		t.Errorf("nobody there: %+v", r)
	}
	if r := server.signal(syscall.SIGINT); r.code != 0 || r.err != "" || strings.Count(r.out, "test of 10.0.1.1:") != 6 {
		t.Errorf("the server: %+v", r)
	}
}
