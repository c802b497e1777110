package text

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/benhoyt/goawk/interp"
	"github.com/benhoyt/goawk/parser"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

func awk(c *applet.Call) error {
	o, err := c.Options("+F:v:f:W:", "field-separator=F", "assign=v", "file=f")
	if err != nil {
		return err
	}
	var source strings.Builder
	for _, file := range o.All("f") {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		source.Write(text)
		source.WriteByte('\n')
	}
	args := o.Args
	if !o.Has("f") {
		if len(args) == 0 {
			return applet.UsageError("no program")
		}
		source.WriteString(args[0])
		args = args[1:]
	}
	program, err := parser.ParseProgram([]byte(source.String()), nil)
	if err != nil {
		return errExit(c, err)
	}
	config := &interp.Config{Stdin: c.In, Output: c.Out, Error: c.Err, Argv0: "awk", Args: args}
	if o.Has("F") {
		separator := o.Value("F", " ")
		if separator == "t" {
			separator = `\t`
		}
		separator, _ = applet.Unescape(separator)
		config.Vars = append(config.Vars, "FS", separator)
	}
	for _, v := range o.All("v") {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return applet.UsageError(fmt.Sprintf("-v %s: not NAME=VALUE", v))
		}
		value, _ = applet.Unescape(value)
		config.Vars = append(config.Vars, name, value)
	}
	if c.Knows("sh") {
		config.ShellCommand = shellCommand()
	}
	code, err := interp.ExecProgram(program, config)
	if err != nil {
		return errExit(c, err)
	}
	if code != 0 {
		return applet.ExitError(code)
	}
	return nil
}

// shellCommand is what runs the commands of system() and pipes.
func shellCommand() []string {
	if _, err := os.Stat("/bin/sh"); errors.Is(err, os.ErrNotExist) {
		return []string{applet.Self, "sh", "-c"}
	}
	return []string{"/bin/sh", "-c"}
}

// errExit says an error whose exit code is awk's.
func errExit(c *applet.Call, err error) error {
	c.Warn(err)
	return applet.ExitError(2)
}
