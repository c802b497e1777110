package shell

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// arguments are the command line of sh.
type arguments struct {
	set                  []string // options of the builtin set
	login, wantTalk, std bool
	command              string
	hasCommand, isJob    bool
	file                 string
	name                 string // $0
	params               []string
}

// parseArgs reads the command line. sh(1): options are those of set, and -c, -i,
// -l and -s; the operands after -c are $0 and the parameters.
func parseArgs(args []string) (*arguments, error) {
	o := &arguments{name: "sh", login: strings.HasPrefix(os.Args[0], "-")}
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			break
		}
		if arg == jobFlag {
			o.isJob = true
			continue
		}
		for _, letter := range arg[1:] {
			var err error
			if args, err = o.flag(arg[:1], letter, args); err != nil {
				return nil, err
			}
		}
	}
	if o.hasCommand {
		if len(args) == 0 {
			return nil, applet.UsageError("option -c needs a command")
		}
		o.command, args = args[0], args[1:]
		if len(args) > 0 {
			o.name, args = args[0], args[1:]
		}
	} else if !o.std && !o.isJob && len(args) > 0 {
		o.file, o.name, args = args[0], args[0], args[1:]
	}
	o.params = args
	return o, nil
}

func (o *arguments) flag(sign string, letter rune, args []string) ([]string, error) {
	switch {
	case letter == 'c':
		o.hasCommand = true
	case letter == 'i':
		o.wantTalk = true
	case letter == 'l':
		o.login = true
	case letter == 's':
		o.std = true
	case letter == 'o':
		if len(args) == 0 {
			return nil, applet.UsageError("option -o needs a name")
		}
		o.set = append(o.set, sign+"o", args[0])
		return args[1:], nil
	case strings.ContainsRune("aefnux", letter):
		o.set = append(o.set, sign+string(letter))
	case strings.ContainsRune("bhmvC", letter): // known to others and without an effect here
	default:
		return nil, applet.UsageError(fmt.Sprintf("unknown option %s%c", sign, letter))
	}
	return args, nil
}

// open returns standard input, and the program where it is not that.
func (o *arguments) open(c *applet.Call) (in *os.File, program io.Reader, err error) {
	in, ok := c.In.(*os.File)
	if !ok {
		return nil, nil, errors.New("standard input is not a file")
	}
	switch {
	case o.isJob:
		program = os.NewFile(jobDescriptor, "job")
	case o.hasCommand:
		program = strings.NewReader(o.command)
	case o.file != "":
		if program, err = openScript(o.file); err != nil {
			return nil, nil, err
		}
	}
	return in, program, nil
}

// openScript reads a script. One that is binary is not one.
func openScript(name string) (io.Reader, error) {
	data, err := os.ReadFile(name)
	var path *fs.PathError
	if errors.As(err, &path) {
		return nil, fmt.Errorf("%s: %w", name, path.Err)
	}
	if first, _, _ := strings.Cut(string(data), "\n"); strings.ContainsRune(first, 0) {
		return nil, fmt.Errorf("%s: %w", name, errBinary)
	}
	return strings.NewReader(string(data)), err
}

var errBinary = errors.New("cannot execute binary file")

// notRunnable is the exit code for a command that did not start.
func notRunnable(err error) int {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotFound) {
		return 127
	}
	return 126
}

// interactive reports whether somebody sits there: sh(1) looks at standard input
// and standard error.
func (o *arguments) interactive(in *os.File) bool {
	if o.wantTalk {
		return true
	}
	return !o.hasCommand && !o.isJob && o.file == "" && isTerminal(in) && isTerminal(os.Stderr)
}
