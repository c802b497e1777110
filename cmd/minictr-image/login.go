package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/minictr/minictr/cmd/minictr-image/registry"
	"github.com/minictr/minictr/runtime/step"
)

func declareLogin(c *command) {
	c.flags.StringVar(&c.username, "username", "", "")
	c.flags.StringVar(&c.username, "u", "", "")
	c.flags.BoolVar(&c.passwordStdin, "password-stdin", false, "")
	declareRegistries(c)
}

// login asks the registry whether it knows the user, and keeps the credential.
func login(ctx context.Context, c *command) error {
	server, err := registry.ParseServer(strings.Join(c.args, ""))
	if err != nil {
		return err
	}
	credential, err := c.askCredential(ctx)
	if err != nil {
		return step.Fail("log in to", server, err)
	}
	client, err := c.client(c.notice)
	if err != nil {
		return step.Fail("log in to", server, err)
	}
	defer client.Close()
	done, err := client.Login(ctx, server, credential)
	if registry.IsUnreachable(err) {
		err = &hintedError{err, "check the registry's name and port, and the network"}
	}
	if err != nil {
		return step.Fail("log in to", server, cause(ctx, err))
	}
	c.warnAboutLogin(server, done)
	_, err = fmt.Fprintln(c.out, "Login Succeeded")
	return err
}

func (c *command) warnAboutLogin(server string, done registry.Login) {
	if done.Needless {
		c.warn(fmt.Sprintf("registry %s asks nobody for a password, so this one was not tried", server))
	}
	if done.Plain {
		c.warn(fmt.Sprintf("the password is in %s, encoded but not encrypted; a credential helper keeps it better", done.Stored))
	}
	if os.Geteuid() != 0 {
		c.warn("pull and push run as root, with root's credentials: `sudo minictr login`")
	}
}

func (c *command) warn(text string) {
	fmt.Fprintf(c.errors, "minictr: warning: %s\n", visible(text))
}

// logout forgets the credential for a registry.
func logout(ctx context.Context, c *command) error {
	server, err := registry.ParseServer(strings.Join(c.args, ""))
	if err != nil {
		return err
	}
	client, err := c.client(c.notice)
	if err != nil {
		return step.Fail("log out of", server, err)
	}
	done, err := client.Logout(ctx, server)
	if err != nil {
		return step.Fail("log out of", server, cause(ctx, err))
	}
	for _, where := range done.Remaining {
		c.warn(fmt.Sprintf("%s has credentials for %s, too, which are left there and used", where, server))
	}
	if len(done.Removed) == 0 {
		_, err = fmt.Fprintf(c.out, "Not logged in to %s\n", server)
		return err
	}
	_, err = fmt.Fprintf(c.out, "Removed the credentials for %s from %s\n", server, strings.Join(done.Removed, " and "))
	return err
}

// maxPasswordBytes bounds what is read for a password; a token can be long.
const maxPasswordBytes = 64 << 10

// askCredential takes user name and password from the flags and standard input,
// or asks for them.
func (c *command) askCredential(ctx context.Context) (registry.Credential, error) {
	credential := registry.Credential{Username: c.username}
	if c.passwordStdin {
		if c.username == "" {
			return credential, &hintedError{errors.New("--password-stdin needs a user name"), "give it with --username"}
		}
		raw, err := readLimited(interruptReader(ctx, c.in), maxPasswordBytes)
		credential.Password = strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
		return credential, errors.Join(err, notEmpty("password on standard input", credential.Password))
	}
	terminal, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return credential, &hintedError{errors.New("standard input is no terminal to ask for a password on"), "give --username and --password-stdin"}
	}
	if c.username == "" {
		name, err := c.ask(ctx, "Username: ", func() ([]byte, error) { return readLine(terminal) })
		if err != nil {
			fmt.Fprintln(c.errors) // the line of the question has no end
			return credential, err
		}
		credential.Username = strings.TrimSpace(string(name))
		if err := notEmpty("user name", credential.Username); err != nil {
			return credential, err
		}
	}
	state, err := term.GetState(int(terminal.Fd()))
	if err != nil {
		return credential, fmt.Errorf("terminal: %w", err)
	}
	defer func() { _ = term.Restore(int(terminal.Fd()), state) }() // after ^C; a terminal that is gone needs none
	password, err := c.ask(ctx, "Password: ", func() ([]byte, error) { return term.ReadPassword(int(terminal.Fd())) })
	fmt.Fprintln(c.errors) // the user's own line end was not echoed
	credential.Password = string(password)
	if err != nil {
		return credential, err
	}
	return credential, notEmpty("password", credential.Password)
}

func notEmpty(what, text string) error {
	if text == "" {
		return errors.New(what + " is empty")
	}
	return nil
}

// ask prints the question and waits for the answer, or for ctx: a read of a
// terminal cannot be ended.
func (c *command) ask(ctx context.Context, question string, read func() ([]byte, error)) ([]byte, error) {
	fmt.Fprint(c.errors, question)
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := read()
		answered <- answer{text, err}
	}()
	select {
	case a := <-answered:
		if errors.Is(a.err, io.EOF) {
			a.err = errors.New("no answer")
		}
		return a.text, plain(a.err)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// readLine reads one line and nothing behind it.
func readLine(r io.Reader) ([]byte, error) {
	var line bytes.Buffer
	for b := make([]byte, 1); line.Len() < maxPasswordBytes; {
		if _, err := r.Read(b); err != nil {
			return nil, err
		}
		if b[0] == '\n' {
			break
		}
		line.WriteByte(b[0])
	}
	return line.Bytes(), nil
}
