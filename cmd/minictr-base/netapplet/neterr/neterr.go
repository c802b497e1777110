// Package neterr words what package net says went wrong with a connection.
package neterr

import (
	"errors"
	"net"
	"os"
)

// Cause is the reason alone: the operation and the addresses are named by who
// tried, once, in the user's words.
func Cause(err error) error {
	var lookup *net.DNSError
	if errors.As(err, &lookup) {
		return Lookup(err)
	}
	var op *net.OpError
	if !errors.As(err, &op) {
		return err
	}
	if op.Timeout() {
		return errors.New("timed out")
	}
	var call *os.SyscallError
	if errors.As(op.Err, &call) {
		return call.Err
	}
	var inner *net.OpError
	if errors.As(op.Err, &inner) {
		return Cause(inner)
	}
	return op.Err
}

// Lookup is why a name has no address.
func Lookup(err error) error {
	var failed *net.DNSError
	switch {
	case !errors.As(err, &failed):
		return err
	case failed.IsNotFound:
		return errors.New("no such host")
	case failed.IsTimeout:
		return errors.New("the name server " + failed.Server + " does not answer")
	case failed.Server == "":
		return errors.New(failed.Err)
	}
	return errors.New("name server " + failed.Server + ": " + failed.Err)
}
