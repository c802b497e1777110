package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// A credential helper is a program docker-credential-NAME, which is told what to
// do by its argument (get, store, erase), and reads the rest from its standard
// input (docker/docker-credential-helpers, "Development").

const helperPrefix = "docker-credential-"

// helperTimeout bounds a helper that waits for somebody who is not there.
const helperTimeout = 60 * time.Second

// tokenUser is the user name by which a helper says that the secret is an
// identity token.
const tokenUser = "<token>"

type helperSecret struct {
	ServerURL, Username, Secret string
}

func helperGet(ctx context.Context, helper, server string) (Credential, error) {
	out, err := runHelper(ctx, helper, "get", []byte(server))
	if errors.Is(err, errHelperHasNone) {
		return Credential{}, nil
	}
	if err != nil {
		return Credential{}, err
	}
	var s helperSecret
	if json.Unmarshal(out, &s) != nil {
		return Credential{}, fmt.Errorf("%s%s get: its answer is not JSON", helperPrefix, helper)
	}
	c := Credential{Username: s.Username, Password: s.Secret, From: helperPrefix + helper}
	if s.Username == tokenUser {
		c.Username, c.Password, c.IdentityToken = "", "", s.Secret
	}
	return c, nil
}

func helperStore(ctx context.Context, helper, server string, c Credential) error {
	in, err := json.Marshal(helperSecret{server, c.Username, c.Password})
	if err != nil {
		return err
	}
	_, err = runHelper(ctx, helper, "store", in)
	return err
}

func helperErase(ctx context.Context, helper, server string) error {
	_, err := runHelper(ctx, helper, "erase", []byte(server))
	if errors.Is(err, errHelperHasNone) {
		return nil
	}
	return err
}

// errHelperHasNone is the one failure of a helper that is none.
var errHelperHasNone = errors.New("no credentials for this registry")

// noneWords is by what a helper says that it has none: its only protocol is this
// text on standard output (credentials.NewErrCredentialsNotFound).
const noneWords = "credentials not found in native keychain"

func runHelper(ctx context.Context, helper, verb string, in []byte) ([]byte, error) {
	program := helperPrefix + helper
	if strings.ContainsRune(helper, '/') {
		return nil, fmt.Errorf("credential helper %q: must be a name without /", helper)
	}
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	var out bytes.Buffer
	c := exec.CommandContext(ctx, program, verb)
	c.Stdin, c.Stdout = bytes.NewReader(in), &out // its standard error may repeat the secret
	err := c.Run()
	switch {
	case err == nil:
		return out.Bytes(), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s %s: no answer in time", program, verb)
	case errors.Is(err, exec.ErrNotFound):
		return nil, &Error{Text: program + " is not in the PATH", Help: "install it, or take it out of credHelpers and credsStore", Err: err}
	case strings.TrimSpace(out.String()) == noneWords:
		return nil, errHelperHasNone
	}
	return nil, fmt.Errorf("%s %s: %w", program, verb, err)
}
