package registry

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// ParseServer reads the argument of login and logout: HOST[:PORT], perhaps as
// the URL that other programs take. Empty is Docker Hub.
func ParseServer(server string) (string, error) {
	if server == "" {
		return hub, nil
	}
	host := server
	if _, rest, found := strings.Cut(server, "://"); found {
		host = rest
	}
	host = strings.TrimRight(host, "/")
	for _, version := range []string{"/v1", "/v2"} {
		host = strings.TrimSuffix(host, version)
	}
	if err := checkPlace(host); err != nil || strings.ContainsAny(host, "/@") {
		return "", &Error{Text: fmt.Sprintf("registry %q: must be HOST[:PORT]", server)}
	}
	return registryOf(host), nil
}

// A Login is what came of one.
type Login struct {
	Needless bool   // the registry asks nobody who they are
	Stored   string // file or program that has the credential
	Plain    bool   // it is there for whoever can read the file
}

// Login asks the registry whether it knows the user, and then keeps the
// credential. A wrong one changes nothing.
func (c *Client) Login(ctx context.Context, server string, credential Credential) (Login, error) {
	var l Login
	err := c.again(ctx, func() (err error) {
		l.Needless, err = c.verify(ctx, server, credential)
		return err
	})
	if err != nil {
		return Login{}, err
	}
	l.Stored, l.Plain, err = c.Credentials.store(ctx, server, credential)
	return l, err
}

// verify sends what GET /v2/ wants to see. A token server gives a token to a
// stranger, too, but not to somebody with a wrong password.
func (c *Client) verify(ctx context.Context, server string, credential Credential) (needless bool, err error) {
	e := newEndpoint(server, c.Config.insecureHost(server))
	r := c.openAs(e, credential)
	if err := r.connect(ctx); err != nil {
		return false, wrongPassword(server, err)
	}
	answer, err := r.sendOnce(ctx, call{url: r.base() + "/v2/"})
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }() // it was only read
	if answer.StatusCode != http.StatusOK {
		return false, wrongPassword(server, r.unwanted(answer))
	}
	return answer.Request.Header.Get("Authorization") == "", nil
}

// wrongPassword says what a refusal means for somebody who has just typed one.
func wrongPassword(server string, err error) error {
	e, ok := err.(*Error) //nolint:errorlint // only the error of the request itself is about the password
	if ok && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden) {
		return &Error{
			Text: fmt.Sprintf("registry %s does not accept this user name and password (%d %s)", server, e.Status, http.StatusText(e.Status)),
			Help: "many registries want an access token in place of the password", Status: e.Status,
		}
	}
	return err
}

// A Logout is what came of one.
type Logout struct {
	Removed   []string // files and programs that had a credential
	Remaining []string // those that still have one
}

// Logout forgets the credential where Login keeps it, and says where else there
// is one.
func (c *Client) Logout(ctx context.Context, server string) (Logout, error) {
	return c.Credentials.remove(ctx, server)
}
