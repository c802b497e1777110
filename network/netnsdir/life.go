package netnsdir

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
)

// A Life tells whether a network namespace still lives, without keeping it alive as an
// open file would. It gives the namespace a number in a third one that nobody else
// knows, and asks what has that number.
type Life struct {
	elsewhere *os.File
	numbers   *Numbers
}

// lifeNumber is the only number in that namespace.
const lifeNumber = 0

// WatchLife begins to watch a namespace, which may be closed afterwards.
func WatchLife(namespace *os.File) (*Life, error) {
	elsewhere, err := network.NewNetns()
	if err != nil {
		return nil, err
	}
	l := &Life{elsewhere: elsewhere}
	err = network.Netns{Path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), elsewhere.Fd())}.Do(func() (err error) {
		l.numbers, err = OpenNumbers()
		return err
	})
	if err == nil {
		err = l.numbers.Set(namespace, lifeNumber)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("watch a network namespace: %w", err)
	}
	return l, nil
}

// Close ends the watching.
func (l *Life) Close() {
	if l.numbers != nil {
		l.numbers.Close()
	}
	_ = l.elsewhere.Close() // nothing is written to a namespace
}

// Ended waits until the namespace is gone, and tells whether it is.
func (l *Life) Ended(wait time.Duration) (bool, error) {
	const pause = 5 * time.Millisecond
	for deadline := time.Now().Add(wait); ; time.Sleep(pause) {
		_, err := l.numbers.Find(lifeNumber, Unnumbered)
		switch {
		case errors.Is(err, ErrNoNumber):
			return true, nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return false, err
		case time.Now().After(deadline):
			return false, nil
		}
	}
}
