package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
)

// An authorizer proves to one registry who is asking. It sets the header of
// requests to that host only, so that what the registry redirects to learns
// nothing: net/http itself would hand a header on to another port of the host.
type authorizer struct {
	router     router
	shown      string // registry, for errors
	credential Credential
	pushes     bool // and not only pulls; for hints

	mu     sync.Mutex
	scopes []string // what tokens are asked for
	header string   // of Authorization; empty until the registry has asked
}

// RoundTrip sends the request, with proof if the registry has asked for some.
func (a *authorizer) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	header := a.header
	a.mu.Unlock()
	if header != "" && r.URL.Host == a.router.host {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", header)
	}
	return a.router.RoundTrip(r)
}

// answer prepares what the challenge asks for. It does nothing and reports false
// when the registry has refused just that already.
func (a *authorizer) answer(ctx context.Context, r *http.Response) (bool, error) {
	c, ok := pick(challengesOf(r.Header))
	if !ok || r.Request.URL.Host != a.router.host {
		return false, nil
	}
	header, err := a.proof(ctx, c)
	if err != nil || header == "" {
		return false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.header = header
	return header != r.Request.Header.Get("Authorization"), nil
}

func (a *authorizer) proof(ctx context.Context, c challenge) (string, error) {
	switch {
	case a.credential.RegistryToken != "":
		return "Bearer " + a.credential.RegistryToken, nil
	case c.scheme == "bearer":
		token, err := a.token(ctx, c)
		return "Bearer " + token, err
	case a.credential.Username == "" && a.credential.Password == "":
		return "", nil
	}
	return basic(a.credential), nil
}

func basic(c Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

// token gets a token from the token server that the challenge names (distribution,
// "Token Authentication Specification"; with an identity token, "OAuth2 Token
// Authentication").
func (a *authorizer) token(ctx context.Context, c challenge) (string, error) {
	realm, err := url.Parse(c.parameters["realm"])
	if err != nil || realm.Host == "" {
		return "", &Error{Text: fmt.Sprintf("registry %s names no token server, but %q", a.shown, c.parameters["realm"])}
	}
	request, err := a.tokenRequest(ctx, realm, c.parameters["service"], a.wanted(c.parameters["scope"]))
	if err != nil {
		return "", err
	}
	return a.askForToken(request)
}

// wanted joins the scopes of our own with that of a challenge.
func (a *authorizer) wanted(scope string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if scope != "" && !slices.Contains(a.scopes, scope) {
		a.scopes = append(a.scopes, scope)
	}
	return slices.Clone(a.scopes)
}

func (a *authorizer) tokenRequest(ctx context.Context, realm *url.URL, service string, scopes []string) (*http.Request, error) {
	if a.credential.IdentityToken != "" {
		form := url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {a.credential.IdentityToken},
			"client_id": {userAgent}, "service": {service}, "scope": {strings.Join(scopes, " ")},
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err == nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return r, err
	}
	at := *realm
	query := at.Query()
	query.Set("service", service)
	query["scope"] = scopes
	if a.credential.Username != "" {
		query.Set("account", a.credential.Username)
	}
	at.RawQuery = query.Encode()
	return http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
}

func (a *authorizer) askForToken(r *http.Request) (string, error) {
	who := fmt.Sprintf("token server %s of registry %s", r.URL.Host, a.shown)
	r.Header.Set("User-Agent", userAgent)
	answer, err := a.router.httpClient(tokenProof{a, r.URL.Host}).Do(r)
	if err != nil {
		return "", explain(a.shown+", its token server "+r.URL.Host, err)
	}
	defer func() { _ = answer.Body.Close() }() // it was only read
	if answer.StatusCode != http.StatusOK {
		return "", a.refusedToken(answered(who, answer))
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes))
	if err != nil {
		return "", explain(a.shown+", its token server "+r.URL.Host, err)
	}
	var body struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal(raw, &body) != nil || body.Token == "" && body.AccessToken == "" {
		return "", &Error{Text: who + " gives no token"}
	}
	if body.Token == "" {
		body.Token = body.AccessToken
	}
	if strings.ContainsFunc(body.Token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", &Error{Text: who + " gives a token that cannot be sent"}
	}
	return body.Token, nil
}

func (a *authorizer) refusedToken(e *Error) error {
	if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		return e.meaning("no access, says", a.accessHelp())
	}
	return e
}

// accessHelp is what to try when the registry does not let us in.
func (a *authorizer) accessHelp() string {
	var help string
	switch c := a.credential; {
	case !c.isEmpty():
		help = fmt.Sprintf("the credentials are from %s; `minictr login %s` replaces them, `minictr logout %s` forgets them", c.From, a.shown, a.shown)
	case a.pushes:
		help = fmt.Sprintf("to push takes an account: `minictr login %s`", a.shown)
	default:
		help = fmt.Sprintf("the repository may be private, or not exist: check the name, or `minictr login %s`", a.shown)
	}
	if user := os.Getenv("SUDO_USER"); user != "" && user != "root" {
		help += fmt.Sprintf("; under sudo the credentials are root's, not those of %s", user)
	}
	return help
}

// tokenProof sends the password to the token server, and to nobody whom that
// redirects to.
type tokenProof struct {
	a    *authorizer
	host string
}

// RoundTrip sends the request.
func (t tokenProof) RoundTrip(r *http.Request) (*http.Response, error) {
	c := t.a.credential
	if r.URL.Host != t.host && r.Method == http.MethodPost { // its body is the secret
		return nil, &Error{Text: fmt.Sprintf("token server %s of registry %s redirects an identity token to %s, which is refused", t.host, t.a.shown, r.URL.Host)}
	}
	if r.URL.Host == t.host && r.Method == http.MethodGet && c.Username != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", basic(c))
	}
	return t.a.router.RoundTrip(r)
}
