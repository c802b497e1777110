package server

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/names"
)

// Config says what a server is for.
type Config struct {
	Runroot string
	Network string
	Bridge  string     // the link by which its containers ask
	Lock    *os.File   // the network's directory, locked
	Sockets []*os.File // bound, for UDP and TCP
	// Linger is how long the server stays without a record: the next container
	// often follows the last.
	Linger time.Duration
}

// A Server answers for one network.
type Server struct {
	config    Config
	addresses []netip.Addr // its own
	directory *directory
	upstream  *upstream
	questions *places // being passed on
	conns     *places // TCP connections
	doors     []door
	bridge    *link
}

// A door is a socket that is served.
type door struct {
	io.Closer
	address netip.Addr
	serve   func() // until it is closed
}

// Run serves until the network has had no record for a while, or until its
// directory has been removed by somebody else.
func Run(c Config) error {
	d, err := openDirectory(names.Root(c.Runroot), c.Network)
	if err != nil {
		return err
	}
	defer d.close()
	bridge, err := newLink(c.Bridge)
	if err != nil {
		return err
	}
	defer unix.Close(bridge.socket)
	s := &Server{
		config:    c,
		directory: d,
		upstream:  &upstream{path: resolvConf},
		questions: newPlaces(maxQuestions, maxQuestionsEach),
		conns:     newPlaces(maxConns, maxConnsEach),
		bridge:    bridge,
	}
	go d.watch()
	defer s.close()
	if err := s.open(c.Sockets); err != nil {
		return err
	}
	for {
		if err := s.waitUnused(); err != nil {
			return err
		}
		if gone, err := s.leave(); gone || err != nil {
			return err
		}
	}
}

// waitUnused returns when there has been no record for a while, whatever changes on
// other networks meanwhile.
func (s *Server) waitUnused() error {
	var patience <-chan time.Time
	for {
		switch {
		case s.directory.occupied():
			patience = nil
		case patience == nil:
			patience = time.After(s.config.Linger)
		}
		if gone, err := s.orphaned(); gone || err != nil {
			return err
		}
		select {
		case <-s.directory.changed:
		case <-patience:
			return nil
		}
	}
}

// orphaned reports whether the network's directory has lost its name: the next
// starter makes another, and finds that unlocked.
func (s *Server) orphaned() (bool, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(s.config.Lock.Fd()), &st)
	return st.Nlink == 0, os.NewSyscallError("fstat", err)
}

// leave takes the network's directory away, unless a record has just come.
func (s *Server) leave() (gone bool, err error) {
	if gone, err := s.orphaned(); gone || err != nil {
		return gone, err
	}
	err = unix.Rmdir(names.Directory(s.config.Runroot, s.config.Network))
	if errors.Is(err, unix.ENOTEMPTY) {
		return false, nil
	}
	return true, os.NewSyscallError("rmdir", err)
}

// open begins to serve the sockets, and takes them over.
func (s *Server) open(sockets []*os.File) error {
	for _, f := range sockets {
		d, err := s.door(f)
		if err != nil {
			return err
		}
		s.doors = append(s.doors, d)
		if !slices.Contains(s.addresses, d.address) {
			s.addresses = append(s.addresses, d.address)
		}
		if err := f.Close(); err != nil { // package net has a copy
			return err
		}
	}
	for _, d := range s.doors {
		go d.serve()
	}
	return nil
}

func (s *Server) door(f *os.File) (door, error) {
	kind, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return door{}, os.NewSyscallError("getsockopt", err)
	}
	if kind == unix.SOCK_STREAM {
		listener, err := net.FileListener(f)
		if err != nil {
			return door{}, err
		}
		return door{listener, addressOf(listener.Addr()), func() { s.serveTCP(listener) }}, nil
	}
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return door{}, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return door{}, errors.ErrUnsupported
	}
	return door{udp, addressOf(udp.LocalAddr()), func() { s.serveUDP(udp) }}, nil
}

func (s *Server) close() {
	for _, d := range s.doors {
		_ = d.Close() // nothing more is expected of it
	}
}

// addressOf is the address without the port.
func addressOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
