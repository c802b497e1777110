package registry

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func blobOf(content string) Source {
	return Source{Digest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(content))), Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

// An uploads is a registry that takes one upload; each step may be replaced.
type uploads struct {
	post, put http.HandlerFunc
	got       []string // the bodies of PUT
}

func (u *uploads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/v2/":
	case r.Method == http.MethodPost && u.post != nil:
		u.post(w, r)
	case r.Method == http.MethodPost:
		w.Header().Set("Location", "/session/1?state=a%2Fb")
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodPut && u.put != nil:
		u.put(w, r)
	case r.Method == http.MethodPut:
		body, _ := io.ReadAll(r.Body)
		u.got = append(u.got, string(body))
		w.WriteHeader(http.StatusCreated)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func pushTo(t testing.TB, c *Client, host string) *Repository {
	t.Helper()
	r, err := c.ForPush(context.Background(), parseReference(t, host+"/x/y:1"))
	check(t, err)
	return r
}

// TestUpload: what a registry can do wrong while it takes a blob.
func TestUpload(t *testing.T) {
	blob := blobOf("content")
	once := func(bad http.HandlerFunc) http.HandlerFunc {
		done := false
		return func(w http.ResponseWriter, r *http.Request) {
			if !done {
				done = true
				bad(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
		}
	}
	for _, c := range []struct {
		name      string
		post, put http.HandlerFunc
		want      string
		puts      int
	}{
		{"well", nil, nil, "", 1},
		{"refused", answer(403, nil, `{"errors":[{"code":"DENIED"}]}`), nil, "no access to this repository of registry HOST (403 Forbidden: DENIED)\nhint: to push takes an account: `minictr login HOST`", 0},
		{"nowhere", answer(202, nil, ""), nil, "registry HOST accepts an upload, but does not say where", 0},
		{"to plain HTTP elsewhere", answer(202, map[string]string{"Location": "http://198.51.100.7/u"}, ""), nil, "upload BLOB: registry HOST sends us to 198.51.100.7 in plain HTTP, which is refused\nhint: if you trust the network, allow it in /etc/minictr/registries.conf: [[registry]] location = \"198.51.100.7\", insecure = true", 0},
		{"finds another digest", nil, answer(400, nil, `{"errors":[{"code":"DIGEST_INVALID"}]}`), "upload BLOB: registry HOST answers 400 Bad Request: DIGEST_INVALID\nhint: if the disk is to blame, `minictr image verify` finds it", 1},
		{"too large", nil, answer(413, nil, ""), "upload BLOB: registry HOST answers 413 Request Entity Too Large", 1},
		{"broken once", nil, once(answer(500, nil, "")), "", 2},
		{"broken", nil, answer(500, nil, ""), "upload BLOB: registry HOST answers 500 Internal Server Error", 4},
		{"closes once", nil, once(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), "", 2},
		{"says nothing", nil, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, "upload BLOB: registry HOST has gone silent", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := &uploads{post: c.post, put: c.put}
			s := startServer(t, u.ServeHTTP)
			client, _ := quick(t)
			err := pushTo(t, client, s.host).Upload(context.Background(), blob)
			want := strings.NewReplacer("HOST", s.host, "BLOB", blob.Digest).Replace(c.want)
			if got := wrapped(err); got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
			if n := s.times("PUT /session/1"); n != c.puts {
				t.Errorf("%d uploads, want %d", n, c.puts)
			}
			if c.name == "well" && (len(u.got) != 1 || u.got[0] != "content") {
				t.Errorf("got %q", u.got)
			}
		})
	}
}

// wrapped is what a user reads of an error that stands in another.
func wrapped(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	for e := err; e != nil; {
		if h, ok := e.(interface{ Hint() string }); ok {
			if h.Hint() != "" {
				text += "\nhint: " + h.Hint()
			}
			break
		}
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		e = u.Unwrap()
	}
	return text
}

// TestUploadElsewhere: a registry may keep blobs on another host, which does not
// learn who is asking; and the session keeps its query.
func TestUploadElsewhere(t *testing.T) {
	there := &uploads{}
	store := startServer(t, there.ServeHTTP)
	s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(401)
			return
		}
		if r.URL.Path != "/v2/" {
			w.Header().Set("Location", "http://"+store.host+"/u?sig=a%2Bb")
			w.WriteHeader(202)
		}
	})
	client, _ := quick(t)
	client.Credentials = credentials(t, map[string]string{s.host: "alice:s3cret"})
	check(t, pushTo(t, client, s.host).Upload(context.Background(), blobOf("content")))
	if len(store.auth) != 1 || store.auth[0] != "" || len(there.got) != 1 || there.got[0] != "content" {
		t.Errorf("%q with %q: %q", store.asked, store.auth, there.got)
	}
}

// TestUploadBehindProxy: a registry that calls itself http, because somebody in
// front of it does the TLS, is still spoken to in TLS.
func TestUploadBehindProxy(t *testing.T) {
	ours := newAuthority(t)
	certificate, _, _ := ours.sign(t, nil)
	u := &uploads{post: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://"+r.Host+"/session/1")
		w.WriteHeader(202)
	}}
	s := startTLS(t, certificate, u.ServeHTTP)
	client, _ := quick(t)
	dir := t.TempDir()
	client.Config.certs = []string{dir}
	write(t, dir+"/"+s.host+"/ca.crt", string(ours.pem))
	check(t, pushTo(t, client, s.host).Upload(context.Background(), blobOf("content")))
	if len(u.got) != 1 {
		t.Errorf("%q", s.asked)
	}
}

// TestMount: what a registry answers when it is to take a blob from another of
// its repositories. Everything but success means that it must be uploaded.
func TestMount(t *testing.T) {
	for name, c := range map[string]struct {
		post http.HandlerFunc
		want bool
		err  string
	}{
		"mounted":     {answer(201, nil, ""), true, ""},
		"not there":   {nil, false, ""},
		"not allowed": {answer(403, nil, ""), false, ""},
		"unknown":     {answer(404, nil, ""), false, ""},
		"not a thing": {answer(400, nil, ""), false, ""},
		"broken":      {answer(500, nil, ""), false, "registry HOST answers 500 Internal Server Error"},
	} {
		u := &uploads{post: c.post}
		s := startServer(t, u.ServeHTTP)
		client, _ := quick(t)
		got, err := pushTo(t, client, s.host).Mount(context.Background(), "sha256:1", "some/where")
		if want := strings.ReplaceAll(c.err, "HOST", s.host); got != c.want || wrapped(err) != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if name == "not there" && s.times("DELETE /session/1") != 1 {
			t.Errorf("the session is left open: %q", s.asked)
		}
	}
}

func TestHasBlob(t *testing.T) {
	for status, want := range map[int]string{200: "true ", 404: "false ", 401: "false no access to this repository of registry HOST (401 Unauthorized)\nhint: to push takes an account: `minictr login HOST`", 503: "false registry HOST answers 503 Service Unavailable"} {
		s := startServer(t, answer(status, nil, ""))
		client, _ := quick(t)
		has, err := pushTo(t, client, s.host).HasBlob(context.Background(), "sha256:1")
		if got := fmt.Sprint(has, " ", wrapped(err)); got != strings.ReplaceAll(want, "HOST", s.host) {
			t.Errorf("%d: %s", status, got)
		}
	}
}

func TestPutManifest(t *testing.T) {
	m := Manifest{Raw: []byte(`{"a": 1}`), MediaType: "application/vnd.oci.image.manifest.v1+json"}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"well": {func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.URL.Path != "/v2/x/y/manifests/1" || string(body) != string(m.Raw) || r.Header.Get("Content-Type") != m.MediaType {
				w.WriteHeader(418)
			}
			w.Header().Set("Docker-Content-Digest", "sha256:d")
			w.WriteHeader(201)
		}, ""},
		"lacks a blob": {answer(400, nil, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}`), "upload manifest sha256:d: registry HOST answers 400 Bad Request: MANIFEST_BLOB_UNKNOWN"},
		"rewrites":     {answer(201, map[string]string{"Docker-Content-Digest": "sha256:e"}, ""), "registry HOST has stored the manifest as sha256:e, not as sha256:d"},
	} {
		s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" {
				c.handler(w, r)
			}
		})
		client, _ := quick(t)
		err := pushTo(t, client, s.host).PutManifest(context.Background(), "1", m, "sha256:d")
		if want := strings.ReplaceAll(c.want, "HOST", s.host); wrapped(err) != want {
			t.Errorf("%s:\n got %s\nwant %s", name, wrapped(err), want)
		}
	}
}

// TestSlowUpload: a registry that takes its time is not silent.
func TestSlowUpload(t *testing.T) {
	u := &uploads{put: func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 1<<20)
		for range 8 {
			if _, err := io.ReadFull(r.Body, buf); err != nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(201)
	}}
	s := startServer(t, u.ServeHTTP)
	client, said := quick(t)
	begin := time.Now()
	check(t, pushTo(t, client, s.host).Upload(context.Background(), blobOf(strings.Repeat("x", 16<<20))))
	if time.Since(begin) < 300*time.Millisecond || said.String() != "" {
		t.Errorf("%v, said %q", time.Since(begin), said)
	}
}

// TestMountScope: the token is good for the other repositories, too.
func TestMountScope(t *testing.T) {
	r := startTokenRegistry(t)
	client, _ := quick(t)
	client.Credentials = credentials(t, map[string]string{r.registry.host: "alice:s3cret"})
	repository, err := client.ForPush(context.Background(), parseReference(t, r.registry.host+"/x/y:1"), "a/b", "c/d")
	check(t, err)
	_, err = repository.HasBlob(context.Background(), "sha256:1")
	check(t, err)
	if got := fmt.Sprint(r.seen["scope"]); got != "[repository:x/y:pull,push repository:a/b:pull repository:c/d:pull]" {
		t.Error(got)
	}
}
