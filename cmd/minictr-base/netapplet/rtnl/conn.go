// Package rtnl talks to the kernel's routing socket, rtnetlink(7): it asks for
// links, addresses, routes and neighbours, and returns them as plain structs with
// every number that the kernel gave; and it sends requests that change them.
// How they are shown is the business of the applets.
package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A Conn is a routing socket of the network namespace in which it was opened.
type Conn struct{ c *netlink.Conn }

// Open opens a routing socket.
func Open() (*Conn, error) { return open(0) }

// Watch opens a routing socket that receives what changes; groups is a set of
// RTMGRP_* bits.
func Watch(groups uint32) (*Conn, error) { return open(groups) }

func open(groups uint32) (*Conn, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Groups: groups})
	if err != nil {
		return nil, fmt.Errorf("open the routing socket: %w", err)
	}
	_ = c.SetOption(netlink.ExtendedAcknowledge, true) // a refinement, Linux 4.12: words beside the errno
	return &Conn{c}, nil
}

// Close closes the socket.
func (c *Conn) Close() { _ = c.c.Close() } // nothing was buffered, nothing can be lost

// Receive waits for what a Conn of Watch is told.
func (c *Conn) Receive() ([]netlink.Message, error) { return c.c.Receive() }

// A Request is a message to the kernel: a fixed header of its kind, and attributes.
type Request struct {
	Kind   uint16              // RTM_NEWLINK
	Flags  netlink.HeaderFlags // beside NLM_F_REQUEST
	Header []byte              // a struct ifinfomsg, ifaddrmsg, …
	Attrs  []byte
}

// Do sends a request, waits for the acknowledgement, and returns the answers.
func (c *Conn) Do(r Request) ([]netlink.Message, error) {
	return c.c.Execute(r.message(netlink.Request | netlink.Acknowledge))
}

// Ask sends a request for one object and returns the answer.
func (c *Conn) Ask(r Request) ([]netlink.Message, error) {
	return c.c.Execute(r.message(netlink.Request))
}

const maxInterrupted = 10 // dumps in a row that a change broke

// Dump asks for all objects of a kind, and again when they changed meanwhile.
func (c *Conn) Dump(r Request) ([]netlink.Message, error) {
	for range maxInterrupted {
		answers, err := c.c.Execute(r.message(netlink.Request | netlink.Dump))
		if errors.Is(err, unix.EINTR) || err == nil && interrupted(answers) {
			continue
		}
		return answers, err
	}
	return nil, unix.EINTR
}

func interrupted(answers []netlink.Message) bool {
	for _, m := range answers {
		if m.Header.Flags&netlink.DumpInterrupted != 0 {
			return true
		}
	}
	return false
}

func (r Request) message(flags netlink.HeaderFlags) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(r.Kind), Flags: r.Flags | flags},
		Data:   append(append([]byte{}, r.Header...), r.Attrs...),
	}
}

// Words returns what the kernel said beside its error number, or nothing.
func Words(err error) string {
	var op *netlink.OpError
	if errors.As(err, &op) {
		return op.Message
	}
	return ""
}

var order = binary.NativeEndian

// split cuts the fixed header off a message.
func split(m netlink.Message, size int) ([]byte, *netlink.AttributeDecoder, error) {
	if len(m.Data) < size {
		return nil, nil, fmt.Errorf("netlink message of kind %d: %d bytes, less than its header", m.Header.Type, len(m.Data))
	}
	attrs, err := netlink.NewAttributeDecoder(m.Data[size:])
	return m.Data[:size], attrs, err
}

// all decodes each message.
func all[T any](messages []netlink.Message, err error, decode func(netlink.Message) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	list := make([]T, 0, len(messages))
	for _, m := range messages {
		one, err := decode(m)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}
