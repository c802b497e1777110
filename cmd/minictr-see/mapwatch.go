package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/watch"
)

// watchMap draws the map, and again when something has changed, until it is interrupted.
func (a *app) watchMap(o *mapOptions, args []string) error {
	w, err := watch.Open()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	screen := &screen{out: a.out, on: term.IsTerminal(int(a.out.Fd()))}
	screen.enter()
	err = a.redraw(ctx, w, screen, o, args)
	screen.leave()
	if errors.Is(err, context.Canceled) {
		err = nil // that is how one ends it
	}
	return errors.Join(err, w.Close())
}

// redraw draws until the context ends. A picture that is as it was is not drawn.
func (a *app) redraw(ctx context.Context, w *watch.Watch, s *screen, o *mapOptions, args []string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGWINCH, unix.SIGTSTP)
	defer signal.Stop(signals)
	go s.obey(signals, w)
	for last := ""; ; {
		if err := w.Directories(network.NetnsDir(a.runroot), "/run/netns", filepath.Join(a.runroot, "containers")); err != nil {
			return err
		}
		var b bytes.Buffer
		if err := a.printMap(&b, o, args); err != nil {
			return err
		}
		if picture := s.fit(b.String()); picture != last || s.lost.Swap(false) {
			s.draw(picture)
			last = picture
		}
		if err := w.Wait(ctx); err != nil {
			return err
		}
	}
}

// A screen is the terminal while a picture is on it that changes. Where it is none,
// pictures follow each other.
type screen struct {
	out   *os.File
	on    bool
	drawn bool
	lost  atomic.Bool // what was drawn is not there any more
}

// obey draws anew when the terminal has another size, and leaves the screen while
// Ctrl-Z has the program stand still.
func (s *screen) obey(signals <-chan os.Signal, w *watch.Watch) {
	for signal := range signals {
		if signal == unix.SIGTSTP {
			s.leave()
			_ = unix.Kill(unix.Getpid(), unix.SIGSTOP) // always allowed
			s.enter()
		}
		s.lost.Store(true)
		w.Nudge()
	}
}

// Control sequences of xterm that all terminals of today have: the other screen,
// which has no history; the cursor; and where it is.
const (
	otherScreen, firstScreen = "\x1b[?1049h", "\x1b[?1049l"
	hideCursor, showCursor   = "\x1b[?25l", "\x1b[?25h"
	home, clearBelow         = "\x1b[H", "\x1b[J"
	clearLine                = "\x1b[K"
)

func (s *screen) enter() { s.send(otherScreen + hideCursor) }
func (s *screen) leave() { s.send(showCursor + firstScreen) }

func (s *screen) send(sequence string) {
	if s.on {
		fmt.Fprint(s.out, sequence)
	}
}

// fit cuts a picture at the end of the screen, which cannot be scrolled.
func (s *screen) fit(picture string) string {
	_, rows, err := term.GetSize(int(s.out.Fd()))
	lines := strings.SplitAfter(picture, "\n")
	if !s.on || err != nil || rows < 2 || len(lines) <= rows {
		return picture
	}
	return strings.Join(lines[:rows-1], "") + fmt.Sprintf("… %d more lines; minictr map without --watch prints them", len(lines)-rows)
}

// draw replaces the picture, line by line so that nothing flickers.
func (s *screen) draw(picture string) {
	switch {
	case s.on:
		fmt.Fprint(s.out, home+strings.ReplaceAll(picture, "\n", clearLine+"\n")+clearBelow)
	case s.drawn:
		fmt.Fprint(s.out, "\n"+picture)
	default:
		fmt.Fprint(s.out, picture)
	}
	s.drawn = true
}
