package files

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// An xargsRun is one run of xargs.
type xargsRun struct {
	c       *applet.Call
	command []string
	trace   bool
	ask     bool
	slots   chan struct{} // one for each process at a time
	group   sync.WaitGroup
	mu      sync.Mutex
	code    int
}

func xargs(c *applet.Call) error {
	o, err := c.Options("+0rtpn:L:P:I:i:s:d:E:x", "null=0", "no-run-if-empty=r", "verbose=t", "interactive=p", "max-args=n", "max-lines=L", "max-procs=P", "replace=I", "delimiter=d")
	if err != nil {
		return err
	}
	number := map[string]int{}
	for name, fallback := range map[string]int{"n": 0, "L": 0, "P": 1, "s": 100 << 10} {
		if number[name], err = o.Int(name, fallback); err != nil {
			return err
		}
	}
	x := &xargsRun{c: c, command: o.Args, trace: o.Has("t"), ask: o.Has("p")}
	if len(x.command) == 0 {
		x.command = []string{"echo"}
	}
	if number["P"] < 1 {
		number["P"] = 64
	}
	x.slots = make(chan struct{}, number["P"])
	replace := o.Value("I", o.Value("i", ""))
	lines, err := xargsWords(c.In, o, replace != "")
	if err != nil {
		return err
	}
	if replace != "" {
		for _, line := range lines {
			x.start(line, replace)
		}
	} else {
		x.batches(lines, number["n"], number["L"], number["s"], !o.Has("r"))
	}
	x.group.Wait()
	if x.code != 0 {
		return applet.ExitError(x.code)
	}
	return nil
}

// batches runs the command with as many words as fit.
func (x *xargsRun) batches(lines [][]string, words, perRun, size int, empty bool) {
	var batch []string
	bytes, count, ran := 0, 0, false
	flush := func() {
		x.start(batch, "")
		batch, bytes, count, ran = nil, 0, 0, true
	}
	for _, line := range lines {
		for _, word := range line {
			if len(batch) > 0 && (words > 0 && len(batch) >= words || bytes+len(word) > size) {
				flush()
			}
			batch = append(batch, word)
			bytes += len(word) + 1
		}
		if count++; perRun > 0 && count >= perRun && len(batch) > 0 {
			flush()
		}
	}
	if len(batch) > 0 || !ran && empty {
		flush()
	}
}

// start runs the command with the words behind it, or in the place of replace.
func (x *xargsRun) start(words []string, replace string) {
	args := append([]string(nil), x.command...)
	if replace == "" {
		args = append(args, words...)
	} else {
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], replace, strings.Join(words, " "))
		}
	}
	if x.trace || x.ask {
		fmt.Fprint(x.c.Err, strings.Join(args, " "))
		if x.ask && !askTerminal(x.c) {
			return
		}
		fmt.Fprintln(x.c.Err)
	}
	x.slots <- struct{}{}
	x.group.Add(1)
	run := func() {
		defer func() { <-x.slots; x.group.Done() }()
		cmd := x.c.Command(args...)
		cmd.Stdin = nil
		x.note(args[0], applet.ExitCode(cmd.Run()))
	}
	if cap(x.slots) == 1 {
		run()
	} else {
		go run()
	}
}

func askTerminal(c *applet.Call) bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	fmt.Fprint(c.Err, " ?...")
	answer, _ := bufio.NewReader(tty).ReadString('\n') // no answer is a no
	return strings.HasPrefix(strings.ToLower(answer), "y")
}

// note makes xargs's exit code of a command's: 123 for any failure, 126 and 127
// as they are.
func (x *xargsRun) note(name string, code int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case code == 127 || code == 126:
		fmt.Fprintf(x.c.Err, "xargs: %s: %s\n", name, map[int]string{127: "not found", 126: "cannot be run"}[code])
		x.code = code
	case code != 0:
		x.code = 123
	}
}

// xargsWords reads the input: the words of each line.
func xargsWords(r io.Reader, o *applet.Options, wholeLines bool) ([][]string, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	text := string(data)
	delimiter := ""
	if o.Has("0") {
		delimiter = "\x00"
	} else if o.Has("d") {
		delimiter, _ = applet.Unescape(o.Value("d", ""))
	}
	var lines [][]string
	if delimiter != "" {
		text = strings.TrimSuffix(text, delimiter)
		if text == "" {
			return nil, nil
		}
		for item := range strings.SplitSeq(text, delimiter) {
			lines = append(lines, []string{item})
		}
		return lines, nil
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if wholeLines {
			if line = strings.TrimLeft(line, " \t"); line != "" {
				lines = append(lines, []string{line})
			}
			continue
		}
		words, err := splitQuoted(line)
		if err != nil {
			return nil, err
		}
		if len(words) > 0 {
			lines = append(lines, words)
		}
	}
	return lines, nil
}

// splitQuoted splits at blanks; quotes and a backslash keep them.
func splitQuoted(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	in := false
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, in = c, true
		case c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			in = true
		case c == ' ' || c == '\t':
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("unmatched %c in the input; -0 takes it as it is", quote)
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}
