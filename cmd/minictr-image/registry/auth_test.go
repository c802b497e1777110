package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// A tokenRegistry wants tokens from a token server of its own.
type tokenRegistry struct {
	registry, tokens *badServer
	serve            http.HandlerFunc // the answer of the token server
	realm            string           // in place of the token server's
	valid            string           // token
	seen             url.Values       // what the token server was asked last
	seenPath         string
}

// startTokenRegistry gives the image to whoever has the token "good", which the
// token server gives to alice with s3cret.
func startTokenRegistry(t testing.TB) *tokenRegistry {
	t.Helper()
	r := &tokenRegistry{valid: "good"}
	r.serve = func(w http.ResponseWriter, q *http.Request) {
		user, password, _ := q.BasicAuth()
		if user+":"+password != "alice:s3cret" && q.Form.Get("refresh_token") != "identity" {
			answer(401, nil, `{"details":"incorrect username or password"}`)(w, q)
			return
		}
		fmt.Fprintf(w, `{"token":%q,"expires_in":300}`, r.valid)
	}
	r.tokens = startServer(t, func(w http.ResponseWriter, q *http.Request) {
		_ = q.ParseForm()
		r.seen, r.seenPath = q.Form, q.Method+" "+q.URL.Path
		r.serve(w, q)
	})
	r.realm = "http://" + r.tokens.host + "/token?fixed=1"
	r.registry = startServer(t, func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Authorization") != "Bearer "+r.valid {
			challenge := fmt.Sprintf(`Bearer realm=%q,service="reg"`, r.realm)
			if q.URL.Path != "/v2/" {
				challenge += `,scope="repository:x/y:pull"`
			}
			w.Header().Set("WWW-Authenticate", challenge)
			answer(401, nil, `{"errors":[{"code":"UNAUTHORIZED"}]}`)(w, q)
			if q.URL.Path == "/v2/" {
				w.WriteHeader(401)
			}
			return
		}
		_, _ = io.WriteString(w, "{}")
	})
	return r
}

func TestToken(t *testing.T) {
	r := startTokenRegistry(t)
	client, _ := quick(t)
	client.Credentials = credentials(t, map[string]string{r.registry.host: "alice:s3cret"})
	if _, got := manifestOf(t, client, r.registry.host+"/x/y"); got != "" {
		t.Fatal(got)
	}
	want := url.Values{"service": {"reg"}, "scope": {"repository:x/y:pull"}, "account": {"alice"}, "fixed": {"1"}}
	if r.seen.Encode() != want.Encode() {
		t.Errorf("the token server was asked %q, want %q", r.seen.Encode(), want.Encode())
	}
	for _, h := range r.registry.auth {
		if strings.HasPrefix(h, "Basic") {
			t.Error("the password went to the registry")
		}
	}
	if n := r.tokens.times("/token"); n != 1 {
		t.Errorf("%d tokens for one manifest", n)
	}
}

// TestTokenExpires: a repository that is used for long gets another token.
func TestTokenExpires(t *testing.T) {
	r := startTokenRegistry(t)
	client, _ := quick(t)
	client.Credentials = credentials(t, map[string]string{r.registry.host: "alice:s3cret"})
	repository, err := client.open(context.Background(), newEndpoint(r.registry.host+"/x/y", false))
	check(t, err)
	for _, valid := range []string{"first", "second"} {
		r.valid = valid
		if _, err := repository.Manifest(context.Background(), "1"); err != nil {
			t.Errorf("%s: %v", valid, err)
		}
	}
}

// TestTokenServerFails: what a token server can do wrong. No row may show the
// password, or a token.
func TestTokenServerFails(t *testing.T) {
	login := "\nhint: the repository may be private, or not exist: check the name, or `minictr login HOST`"
	replaced := "\nhint: the credentials are from FILE; `minictr login HOST` replaces them, `minictr logout HOST` forgets them"
	for _, c := range []struct {
		name, user string
		serve      http.HandlerFunc
		realm      string
		want       string
		asked      int
	}{
		{"stranger", "", nil, "", "no access, says token server TOKENS of registry HOST (401 Unauthorized)" + login, 1},
		{"wrong password", "alice:s3cret-wrong", nil, "", "no access, says token server TOKENS of registry HOST (401 Unauthorized)" + replaced, 1},
		{"forbidden", "alice:s3cret", answer(403, nil, ""), "", "no access, says token server TOKENS of registry HOST (403 Forbidden)" + replaced, 1},
		{"broken", "alice:s3cret", answer(500, nil, ""), "", "token server TOKENS of registry HOST answers 500 Internal Server Error", 4},
		{"too many", "alice:s3cret", answer(429, map[string]string{"Retry-After": "4000"}, ""), "", "token server TOKENS of registry HOST answers 429 Too Many Requests, and wants to be left alone for 1h7m0s", 1},
		{"a web page", "alice:s3cret", answer(200, nil, "<html>s3cret"), "", "token server TOKENS of registry HOST gives no token", 1},
		{"empty", "alice:s3cret", answer(200, nil, `{"token":""}`), "", "token server TOKENS of registry HOST gives no token", 1},
		{"a token of lines", "alice:s3cret", answer(200, nil, `{"token":"a\r\nX: s3cret"}`), "", "token server TOKENS of registry HOST gives a token that cannot be sent", 1},
		{"access_token", "alice:s3cret", answer(200, nil, `{"access_token":"good"}`), "", "", 1},
		{"a token that does not do", "alice:s3cret", answer(200, nil, `{"token":"s3cret-bad"}`), "", "no access to this repository of registry HOST (401 Unauthorized: UNAUTHORIZED)" + replaced, 2},
		{"no realm", "alice:s3cret", nil, "-", `registry HOST names no token server, but ""`, 0},
		{"odd realm", "alice:s3cret", nil, "token", `registry HOST names no token server, but "token"`, 0},
		{"a file", "alice:s3cret", nil, "file:///etc/passwd", `registry HOST names no token server, but "file:///etc/passwd"`, 0},
		{"nowhere", "alice:s3cret", nil, "http://127.0.0.1:1/", "cannot reach registry HOST, its token server 127.0.0.1:1: dial 127.0.0.1:1: connection refused\nhint: " + offline, 0},
		{"plain HTTP elsewhere", "alice:s3cret", nil, "http://198.51.100.7/", "registry HOST sends us to 198.51.100.7 in plain HTTP, which is refused\nhint: if you trust the network, allow it in /etc/minictr/registries.conf: [[registry]] location = \"198.51.100.7\", insecure = true", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startTokenRegistry(t)
			if c.serve != nil {
				r.serve = c.serve
			}
			switch c.realm {
			case "":
			case "-":
				r.realm = ""
			default:
				r.realm = c.realm
			}
			client, _ := quick(t)
			file := ""
			if c.user != "" {
				client.Credentials = credentials(t, map[string]string{r.registry.host: c.user})
				file = client.Credentials.Files[0]
			}
			_, got := manifestOf(t, client, r.registry.host+"/x/y")
			want := strings.NewReplacer("HOST", r.registry.host, "TOKENS", r.tokens.host, "FILE", file).Replace(c.want)
			if got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
			if n := r.tokens.times("/token"); n != c.asked {
				t.Errorf("the token server was asked %d times, want %d", n, c.asked)
			}
			if strings.Contains(got, "s3cret") {
				t.Error("a secret is in the error")
			}
		})
	}
}

// TestIdentityToken: what a login by a browser leaves is sent to the token
// server, and does not follow a redirect.
func TestIdentityToken(t *testing.T) {
	r := startTokenRegistry(t)
	client, _ := quick(t)
	file := write(t, t.TempDir()+"/config.json", fmt.Sprintf(`{"auths":{%q:{"identitytoken":"identity"}}}`, r.registry.host))
	client.Credentials = Credentials{Files: []string{file}}
	if _, got := manifestOf(t, client, r.registry.host+"/x/y"); got != "" || r.seenPath != "POST /token" || r.seen.Get("grant_type") != "refresh_token" {
		t.Errorf("%s; asked %s %v", got, r.seenPath, r.seen)
	}
	other := startServer(t, answer(200, nil, `{"token":"good"}`))
	r.serve = func(w http.ResponseWriter, q *http.Request) {
		http.Redirect(w, q, "http://"+other.host+"/token", http.StatusTemporaryRedirect)
	}
	want := "token server " + r.tokens.host + " of registry " + r.registry.host + " redirects an identity token to " + other.host + ", which is refused"
	if _, got := manifestOf(t, client, r.registry.host+"/x/y"); got != want || len(other.asked) != 0 {
		t.Errorf("%s; the other was asked %v", got, other.asked)
	}
}

// TestCredentialsStay: whatever a registry redirects to, be it another port of
// the same host, does not learn who is asking.
func TestCredentialsStay(t *testing.T) {
	other := startServer(t, func(w http.ResponseWriter, q *http.Request) { _, _ = io.WriteString(w, "{}") })
	asks := startServer(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="give it to me"`)
		w.WriteHeader(401)
	})
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			if _, _, ok := q.BasicAuth(); !ok {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(401)
				return
			}
			if q.URL.Path == "/v2/" {
				return
			}
			http.Redirect(w, q, to+q.URL.Path, http.StatusTemporaryRedirect)
		}
	}
	client, _ := quick(t)
	for _, c := range []struct {
		name string
		to   *badServer
		want string
	}{
		{"which serves", other, ""},
		{"which asks for a password", asks, "no access to this repository of registry HOST (redirected to OTHER) (401 Unauthorized)\nhint: the credentials are from FILE; `minictr login HOST` replaces them, `minictr logout HOST` forgets them"},
	} {
		s := startServer(t, redirect("http://"+c.to.host))
		client.Credentials = credentials(t, map[string]string{s.host: "alice:s3cret", c.to.host: "bob:other"})
		_, got := manifestOf(t, client, s.host+"/x/y")
		if want := strings.NewReplacer("HOST", s.host, "OTHER", c.to.host, "FILE", client.Credentials.Files[0]).Replace(c.want); got != want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, want)
		}
		if len(c.to.asked) != 1 || c.to.auth[0] != "" {
			t.Errorf("%s: it was asked %q with %q", c.name, c.to.asked, c.to.auth)
		}
		for _, h := range c.to.heads {
			if text := fmt.Sprint(h); strings.Contains(text, "alice") || strings.Contains(text, basic(Credential{Username: "alice", Password: "s3cret"})) {
				t.Errorf("%s: headers %s", c.name, text)
			}
		}
	}
}

// TestCredentialLookup: files, keys and helpers, as Docker and podman have them.
func TestCredentialLookup(t *testing.T) {
	t.Setenv("PATH", helperDir(t)+":/usr/bin:/bin")
	dir := t.TempDir()
	auth := func(user string) string {
		return fmt.Sprintf(`{"auth":%q}`, strings.TrimPrefix(basic(Credential{Username: user, Password: "p:w"}), "Basic "))
	}
	first := write(t, dir+"/first.json", fmt.Sprintf(`{
		"auths": {
			"https://index.docker.io/v1/": %s,
			"https://old.example/v2/": %s,
			"deep.example/a/b": %s,
			"deep.example": %s,
			"empty.example": {},
			"plain.example": {"username": "plain", "password": "x"},
			"helped.example": %s,
			"broken.example": {"auth": "!!"},
			"nocolon.example": {"auth": "bm9jb2xvbg=="},
			"token.example": {"registrytoken": "abc"}
		},
		"credHelpers": {"helped.example": "test", "token-helper.example": "token", "absent.example": "none", "nothere.example": "nothere", "fails.example": "fails", "path.example": "../x", "nonsense.example": "nonsense"},
		"HttpHeaders": {"X": "y"}}`, auth("hub"), auth("old"), auth("deep-b"), auth("deep"), auth("file")))
	second := write(t, dir+"/second.json", fmt.Sprintf(`{"auths":{"empty.example":%s,"deep.example":%s,"second.example:5000":%s}}`, auth("second-empty"), auth("never"), auth("port")))
	c := Credentials{Files: []string{dir + "/missing.json", first, second}}
	for name, want := range map[string]string{
		"alpine":                    "hub p:w",
		"old.example/x":             "old p:w",
		"deep.example/a/b":          "deep-b p:w",
		"deep.example/a/b/c":        "deep-b p:w",
		"deep.example/a/bc":         "deep p:w",
		"deep.example/x":            "deep p:w",
		"empty.example/x":           "second-empty p:w",
		"plain.example/x":           "plain x",
		"second.example:5000/x":     "port p:w",
		"second.example/x":          " ",
		"helped.example/x":          "helper secret-of-helped.example",
		"token-helper.example/x":    "identity secret-of-token-helper.example",
		"token.example/x":           "registrytoken abc",
		"absent.example/x":          " ",
		"broken.example/x":          "credentials in FIRST: auth: is not the base64 of USER:PASSWORD",
		"nocolon.example/x":         "credentials in FIRST: auth: is not the base64 of USER:PASSWORD",
		"nothere.example/x":         "credentials in FIRST: docker-credential-nothere is not in the PATH",
		"fails.example/x":           "credentials in FIRST: docker-credential-fails get: exit status 3",
		"nonsense.example/x":        "credentials in FIRST: docker-credential-nonsense get: its answer is not JSON",
		"path.example/x":            `credentials in FIRST: credential helper "../x": must be a name without /`,
		"docker.io.evil.example/x":  " ",
		"index.docker.io.example/x": " ",
	} {
		e := newEndpoint(parseReference(t, name).Repository(), false)
		got, err := c.find(context.Background(), e)
		text := got.Username + " " + got.Password
		switch {
		case err != nil:
			text = strings.ReplaceAll(err.Error(), first, "FIRST")
		case got.IdentityToken != "":
			text = "identity " + got.IdentityToken
		case got.RegistryToken != "":
			text = "registrytoken " + got.RegistryToken
		}
		if text != want {
			t.Errorf("%s: %q, want %q", name, text, want)
		}
		if shown := fmt.Sprintf("%v %+v %#v %s", got, got, got, got); got.Password != "" && strings.Contains(shown, got.Password) {
			t.Errorf("%s: %s", name, shown)
		}
	}
	for text, want := range map[string]string{
		"{\n\"auths\": {\n x": "line 3: is not JSON", `{"auths": 3}`: "auths: is not of the right type", `{"auths":{"a":{"auth":5}}}`: "auths.auth: is not of the right type", "": "", " \n": "",
	} {
		file := write(t, dir+"/bad.json", text)
		_, err := Credentials{Files: []string{file}}.find(context.Background(), newEndpoint("a.b/c", false))
		if want != "" {
			want = "credentials in " + file + ": " + want
		}
		if lines(err) != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// helperDir holds credential helpers: test keeps what it is given in the file
// $HELPER_STORE.
func helperDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range map[string]string{
		"test": `read -r line || true
case $1 in
get) if [ -n "$HELPER_STORE" ] && ! [ -e "$HELPER_STORE" ]; then echo "credentials not found in native keychain"; exit 1; fi
     echo "{\"ServerURL\":\"$line\",\"Username\":\"helper\",\"Secret\":\"secret-of-$line\"}" ;;
store) echo "$line" >"$HELPER_STORE" ;;
erase) rm "$HELPER_STORE" ;;
esac`,
		"token":    `read -r line || true; echo "{\"Username\":\"<token>\",\"Secret\":\"secret-of-$line\"}"`,
		"none":     `echo "credentials not found in native keychain"; exit 1`,
		"fails":    `echo "the password is hunter2"; echo "the password is hunter2" >&2; exit 3`,
		"nonsense": `echo "the password is hunter2"`,
	} {
		file := write(t, dir+"/docker-credential-"+name, "#!/bin/sh\n"+script+"\n")
		chmod(t, file)
	}
	return dir
}

// TestCredentialFiles: where they are looked for.
func TestCredentialFiles(t *testing.T) {
	for _, name := range []string{"REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", "/home/x")
	files := func() string { return strings.Join(LoadCredentials().Files, " ") }
	if got, want := files(), fmt.Sprintf("/home/x/.docker/config.json /run/containers/%d/auth.json /home/x/.config/containers/auth.json", uid()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	t.Setenv("REGISTRY_AUTH_FILE", "/a")
	t.Setenv("DOCKER_CONFIG", "/d")
	t.Setenv("XDG_RUNTIME_DIR", "/r")
	t.Setenv("XDG_CONFIG_HOME", "/c")
	if got, want := files(), "/a /d/config.json /r/containers/auth.json /c/containers/auth.json"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestLogin: a wrong password changes nothing; a right one is kept where docker
// login keeps it, and all that is not ours stays.
func TestLogin(t *testing.T) {
	r := startTokenRegistry(t)
	basicOnly := startServer(t, func(w http.ResponseWriter, q *http.Request) {
		if user, password, _ := q.BasicAuth(); user+":"+password != "alice:s3cret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(401)
		}
	})
	open := startServer(t, answer(200, nil, ""))
	client, _ := quick(t)
	dir := t.TempDir()
	file := write(t, dir+"/real.json", `{"HttpHeaders":{"User-Agent":"x"},"auths":{"other.example":{"auth":"YTpi","email":"e"}},"big":12345678901234567890}`)
	link := dir + "/config.json"
	symlink(t, file, link)
	client.Credentials = Credentials{Files: []string{link}}
	before := readFile(t, file)
	for _, host := range []string{r.registry.host, basicOnly.host} {
		_, err := client.Login(context.Background(), host, Credential{Username: "alice", Password: "wrong-one"})
		want := "registry " + host + " does not accept this user name and password (401 Unauthorized)\nhint: many registries want an access token in place of the password"
		if lines(err) != want || readFile(t, file) != before {
			t.Errorf("%v\nwant %s\n%s", err, want, readFile(t, file))
		}
	}
	for host, needless := range map[string]bool{r.registry.host: false, basicOnly.host: false, open.host: true} {
		l, err := client.Login(context.Background(), host, Credential{Username: "alice", Password: "s3cret"})
		if err != nil || l != (Login{needless, link, true}) {
			t.Errorf("%s: %+v, %v", host, l, err)
		}
	}
	var kept struct {
		Auths       map[string]map[string]string
		HTTPHeaders map[string]string `json:"HttpHeaders"`
		Big         json.Number
	}
	check(t, json.Unmarshal([]byte(readFile(t, file)), &kept))
	if kept.Auths[basicOnly.host]["auth"] != "YWxpY2U6czNjcmV0" || kept.Auths["other.example"]["email"] != "e" || kept.HTTPHeaders["User-Agent"] != "x" || kept.Big != "12345678901234567890" {
		t.Errorf("%+v", kept)
	}
	if mode(t, file) != 0o600 || !isLink(t, link) || entries(t, dir) != 2 {
		t.Errorf("mode %o, link %v, %d files", mode(t, file), isLink(t, link), entries(t, dir))
	}
	out, err := client.Logout(context.Background(), basicOnly.host)
	if err != nil || fmt.Sprint(out) != fmt.Sprintf("{[%s] []}", link) || strings.Contains(readFile(t, file), basicOnly.host) {
		t.Errorf("%v, %v, %s", out, err, readFile(t, file))
	}
	before = readFile(t, file)
	if out, err = client.Logout(context.Background(), basicOnly.host); err != nil || out.Removed != nil || readFile(t, file) != before {
		t.Errorf("again: %v, %v", out, err)
	}
}

// TestLoginTwiceAtOnce loses none of them.
func TestLoginTwiceAtOnce(t *testing.T) {
	file := t.TempDir() + "/new/config.json"
	c := Credentials{Files: []string{file}}
	const n = 20
	errs := make(chan error, n)
	for i := range n {
		go func() {
			_, _, err := c.store(context.Background(), fmt.Sprintf("r%d.example", i), Credential{Username: "u", Password: "p"})
			errs <- err
		}()
	}
	for range n {
		check(t, <-errs)
	}
	f, err := readAuthFile(file)
	if err != nil || len(f.Auths) != n || mode(t, file) != 0o600 {
		t.Errorf("%d of %d, %v", len(f.Auths), n, err)
	}
}

// TestLoginWithHelper: the password goes to the helper and not to the file.
func TestLoginWithHelper(t *testing.T) {
	t.Setenv("PATH", helperDir(t)+":/usr/bin:/bin")
	kept := t.TempDir() + "/kept"
	t.Setenv("HELPER_STORE", kept)
	dir := t.TempDir()
	file := write(t, dir+"/config.json", `{"credsStore":"test"}`)
	left := write(t, dir+"/auth.json", `{"auths":{"docker.io":{"auth":"YTpi"}}}`)
	open := startServer(t, answer(200, nil, ""))
	client, _ := quick(t)
	client.Credentials = Credentials{Files: []string{file, left}}
	client.at(map[string]string{"index.docker.io:443": open.host})
	client.Config.rules = []rule{{Location: hubAPI, Insecure: true}}
	l, err := client.Login(context.Background(), open.host, Credential{Username: "alice", Password: "s3cret"})
	if err != nil || l != (Login{true, "docker-credential-test", false}) {
		t.Fatalf("%+v, %v", l, err)
	}
	if got, want := readFile(t, kept), fmt.Sprintf(`{"ServerURL":%q,"Username":"alice","Secret":"s3cret"}`, open.host)+"\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if text := readFile(t, file); strings.Contains(text, "YWxpY2") || !strings.Contains(text, `"credsStore": "test"`) || !strings.Contains(text, open.host) {
		t.Error(text)
	}
	out, err := client.Logout(context.Background(), open.host)
	if err != nil || fmt.Sprint(out) != "{[docker-credential-test] []}" || strings.Contains(readFile(t, file), open.host) {
		t.Errorf("%v, %v, %s", out, err, readFile(t, file))
	}
	if out, err = client.Logout(context.Background(), "docker.io"); err != nil || fmt.Sprint(out) != "{[] ["+left+"]}" {
		t.Errorf("%v, %v", out, err)
	}
}

func TestSudoHint(t *testing.T) {
	t.Setenv("SUDO_USER", "alice")
	s := startServer(t, answer(403, nil, ""))
	client, _ := quick(t)
	if _, got := manifestOf(t, client, s.host+"/x/y"); !strings.HasSuffix(got, "`minictr login "+s.host+"`; under sudo the credentials are root's, not those of alice") {
		t.Error(got)
	}
}
