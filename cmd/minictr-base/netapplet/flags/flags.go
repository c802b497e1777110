// Package flags reads the options of the network applets, short ones and their
// clusters ("-tulpn") first of all, and turns a mistake into a usage error.
package flags

import (
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// A Set is the options of one applet.
type Set struct{ *pflag.FlagSet }

// New makes an empty set. Options may stand behind operands.
func New(c *applet.Call) *Set {
	set := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	set.SortFlags = false
	return &Set{set}
}

// Parse reads the arguments of a call. What is wrong is a UsageError.
func (s *Set) Parse(c *applet.Call) error {
	err := s.FlagSet.Parse(c.Args)
	if errors.Is(err, pflag.ErrHelp) {
		return applet.UsageError("its options are these")
	}
	if err != nil {
		return applet.UsageError(err.Error())
	}
	return nil
}

// On defines an option without a value.
func (s *Set) On(to *bool, name, short string) { s.BoolVarP(to, name, short, *to, "") }

// Number defines an option with a whole number.
func (s *Set) Number(to *int, name, short string) { s.IntVarP(to, name, short, *to, "") }

// Text defines an option with a word.
func (s *Set) Text(to *string, name, short string) { s.StringVarP(to, name, short, *to, "") }

// Seconds defines an option with a time in seconds, which may have a fraction.
func (s *Set) Seconds(to *time.Duration, name, short string) {
	s.VarP((*seconds)(to), name, short, "")
}

type seconds time.Duration

func (s *seconds) Set(word string) error {
	n, err := strconv.ParseFloat(word, 64)
	const most = 1e9 // 31 years; more would not fit a Duration
	if err != nil || n < 0 || n > most {
		return errors.New("not a number of seconds")
	}
	*s = seconds(n * float64(time.Second))
	return nil
}

func (s *seconds) String() string { return time.Duration(*s).String() }
func (*seconds) Type() string     { return "seconds" }

// Port reads a TCP or UDP port.
func Port(word string) (int, error) {
	n, err := strconv.ParseUint(word, 10, 16)
	if err != nil {
		return 0, applet.UsageError("port " + strconv.Quote(word) + ": not a number from 0 to 65535")
	}
	return int(n), nil
}
