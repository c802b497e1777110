package shell

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A completer completes the word before the cursor when Tab is typed: a command
// at the beginning of a command, else a file. A second Tab lists what there is.
type completer struct {
	shell *shell
	show  io.Writer
	last  string // the line when Tab could not go on
}

// complete is the terminal's callback.
func (c *completer) complete(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		c.last = ""
		return "", 0, false
	}
	start := strings.LastIndexAny(line[:pos], " \t;|&()<>`=") + 1
	word := line[start:pos]
	choices := c.choices(line[:start], word)
	if len(choices) == 0 {
		return line, pos, true
	}
	common := commonPrefix(choices)
	if len(choices) == 1 && !strings.HasSuffix(common, "/") {
		common += " "
	}
	if len(common) > len(word) {
		c.last = ""
		return line[:start] + common + line[pos:], start + len(common), true
	}
	if c.last == line {
		c.list(choices)
	}
	c.last = line
	return line, pos, true
}

func (c *completer) choices(before, word string) []string {
	trimmed := strings.TrimRight(before, " \t")
	first := trimmed == "" || strings.ContainsAny(trimmed[len(trimmed)-1:], ";|&(`")
	var list []string
	if first && !strings.Contains(word, "/") {
		list = c.commands(word)
	} else {
		list = c.files(word)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// commands are builtins, functions, applets and programs in PATH.
func (c *completer) commands(word string) []string {
	names := []string{"alias", "cd", "command", "eval", "exec", "exit", "export", "read", "return", "set", "shift", "source", "test", "type", "unset"}
	for name := range own {
		names = append(names, name)
	}
	for name := range c.shell.runner.Funcs {
		names = append(names, name)
	}
	for _, a := range c.shell.call.All {
		names = append(names, a.Name)
	}
	for _, dir := range filepath.SplitList(c.shell.runner.Vars["PATH"].String()) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // a PATH may name what is not there
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	return slices.DeleteFunc(names, func(n string) bool {
		return !strings.HasPrefix(n, word)
	})
}

func (c *completer) files(word string) []string {
	dir, base := filepath.Split(word)
	look := dir
	home := c.shell.runner.Vars["HOME"].String()
	if rest, ok := strings.CutPrefix(look, "~/"); ok && home != "" {
		look = filepath.Join(home, rest)
	}
	if !filepath.IsAbs(look) {
		look = filepath.Join(c.shell.runner.Dir, look)
	}
	entries, err := os.ReadDir(look)
	if err != nil {
		return nil // nothing to offer
	}
	var list []string
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, base) || base == "" && strings.HasPrefix(name, ".") {
			continue
		}
		full := dir + escape(name)
		if st, err := os.Stat(filepath.Join(look, name)); err == nil && st.IsDir() {
			full += "/"
		}
		list = append(list, full)
	}
	return list
}

// escape puts a backslash before what the shell would not take as it is.
func escape(name string) string {
	var b strings.Builder
	for _, r := range name {
		if strings.ContainsRune(" \t\\'\"$`&|;<>()*?[]#!~{}", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func commonPrefix(list []string) string {
	common := list[0]
	for _, s := range list[1:] {
		for !strings.HasPrefix(s, common) {
			common = common[:len(common)-1]
		}
	}
	return common
}

// list shows the choices in columns.
func (c *completer) list(choices []string) {
	width := 0
	names := make([]string, len(choices))
	for i, choice := range choices {
		trimmed := strings.TrimSuffix(choice, "/")
		names[i] = choice[strings.LastIndex(trimmed, "/")+1:]
		width = max(width, len(names[i])+2)
	}
	columns := max(1, 80/width)
	for i, name := range names {
		end := ""
		if i%columns == columns-1 || i == len(names)-1 {
			end = "\n"
		}
		fmt.Fprintf(c.show, "%-*s%s", width, name, end)
	}
}
