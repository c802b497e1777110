package applet

import (
	"fmt"
	"strconv"
	"strings"
)

// Options are the flags of a command line and what is left of it.
type Options struct {
	Args  []string // the operands
	Given []Option // each flag as often as it was given, in order
}

// An Option is one flag that was given: its letter, or its long name where it
// has no letter, and its value.
type Option struct{ Name, Value string }

// Options reads the command line as getopt_long(3) does: -la, -n5, -n 5,
// --lines=5, --lines 5, flags behind operands, and "--" to end them.
//
// letters is the list of one-letter flags; ":" behind one says that it takes a
// value, and a leading "+" that the first operand ends the flags. Each of long is
// a long name: "all=a" is another word for -a, "exclude:" takes a value, and
// "color?" may have one behind "=".
func (c *Call) Options(letters string, long ...string) (*Options, error) {
	o := &Options{}
	letters, stopEarly := strings.CutPrefix(letters, "+")
	args := c.Args
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case arg == "--":
			o.Args = append(o.Args, args...)
			return o, nil
		case strings.HasPrefix(arg, "--"):
			args, err = o.longOption(arg[2:], args, letters, long)
		case len(arg) > 1 && arg[0] == '-':
			args, err = o.letterOptions(arg[1:], args, letters)
		default:
			o.Args = append(o.Args, arg)
			if stopEarly {
				o.Args = append(o.Args, args...)
				return o, nil
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (o *Options) letterOptions(cluster string, args []string, letters string) ([]string, error) {
	for i, letter := range cluster {
		takes, known := letterTakesValue(letters, letter)
		if !known {
			return nil, UsageError(fmt.Sprintf("unknown option -%c", letter))
		}
		if !takes {
			o.Given = append(o.Given, Option{Name: string(letter)})
			continue
		}
		value := cluster[i+len(string(letter)):]
		if value == "" {
			if len(args) == 0 {
				return nil, UsageError(fmt.Sprintf("option -%c needs a value", letter))
			}
			value, args = args[0], args[1:]
		}
		o.Given = append(o.Given, Option{string(letter), value})
		break
	}
	return args, nil
}

func letterTakesValue(letters string, letter rune) (takes, known bool) {
	i := strings.IndexRune(letters, letter)
	if i < 0 || letter == ':' {
		return false, false
	}
	return strings.HasPrefix(letters[i+len(string(letter)):], ":"), true
}

func (o *Options) longOption(arg string, args []string, letters string, long []string) ([]string, error) {
	name, value, hasValue := strings.Cut(arg, "=")
	given, takes, optional := findLong(name, letters, long)
	switch {
	case given == "":
		return nil, UsageError("unknown option --" + name)
	case hasValue && !takes && !optional:
		return nil, UsageError("option --" + name + " takes no value")
	case takes && !hasValue:
		if len(args) == 0 {
			return nil, UsageError("option --" + name + " needs a value")
		}
		value, args = args[0], args[1:]
	}
	o.Given = append(o.Given, Option{given, value})
	return args, nil
}

// findLong returns what the long option is called in Given.
func findLong(name, letters string, long []string) (given string, takes, optional bool) {
	for _, l := range long {
		switch l {
		case name:
			return name, false, false
		case name + ":":
			return name, true, false
		case name + "?":
			return name, false, true
		}
		if letter, ok := strings.CutPrefix(l, name+"="); ok {
			takes, _ := letterTakesValue(letters, []rune(letter)[0])
			return letter, takes, false
		}
	}
	return "", false, false
}

// Has reports whether one of the flags was given.
func (o *Options) Has(names ...string) bool {
	for _, g := range o.Given {
		for _, name := range names {
			if g.Name == name {
				return true
			}
		}
	}
	return false
}

// Last returns which of the flags was given last, or "".
func (o *Options) Last(names ...string) string {
	last := ""
	for _, g := range o.Given {
		for _, name := range names {
			if g.Name == name {
				last = name
			}
		}
	}
	return last
}

// Count is how often the flag was given.
func (o *Options) Count(name string) int { return len(o.All(name)) }

// All returns the values of a flag that may be given several times.
func (o *Options) All(name string) []string {
	var values []string
	for _, g := range o.Given {
		if g.Name == name {
			values = append(values, g.Value)
		}
	}
	return values
}

// Value returns the last value of the flag, or the fallback.
func (o *Options) Value(name, fallback string) string {
	for _, g := range o.Given {
		if g.Name == name {
			fallback = g.Value
		}
	}
	return fallback
}

// Int returns the value of the flag as a number.
func (o *Options) Int(name string, fallback int) (int, error) {
	if !o.Has(name) {
		return fallback, nil
	}
	n, err := strconv.Atoi(o.Value(name, ""))
	if err != nil {
		return 0, UsageError(fmt.Sprintf("option -%s: %q is not a number", name, o.Value(name, "")))
	}
	return n, nil
}
