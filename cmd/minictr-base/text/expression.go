package text

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/pattern"
)

// An expression is the words of test or expr that are left to read.
type expression struct{ words []string }

func (e *expression) peek() string {
	if len(e.words) == 0 {
		return ""
	}
	return e.words[0]
}

func (e *expression) take() string {
	w := e.peek()
	if len(e.words) > 0 {
		e.words = e.words[1:]
	}
	return w
}

func test(c *applet.Call) error {
	args := c.Args
	if c.Name == "[" {
		if len(args) == 0 || args[len(args)-1] != "]" {
			return applet.UsageError("a ] is missing")
		}
		args = args[:len(args)-1]
	}
	e := &expression{args}
	if len(args) == 0 {
		return applet.ExitError(1)
	}
	yes, err := e.or()
	if err == nil && len(e.words) > 0 {
		err = fmt.Errorf("%q is not expected here", e.peek())
	}
	if err != nil {
		return applet.UsageError(err.Error())
	}
	return failed(!yes)
}

func (e *expression) or() (bool, error) {
	yes, err := e.and()
	for err == nil && e.peek() == "-o" {
		e.take()
		var right bool
		right, err = e.and()
		yes = yes || right
	}
	return yes, err
}

func (e *expression) and() (bool, error) {
	yes, err := e.not()
	for err == nil && e.peek() == "-a" {
		e.take()
		var right bool
		right, err = e.not()
		yes = yes && right
	}
	return yes, err
}

func (e *expression) not() (bool, error) {
	if e.peek() == "!" && len(e.words) > 1 && (len(e.words) != 3 || !isBinary(e.words[1])) {
		e.take()
		yes, err := e.not()
		return !yes, err
	}
	return e.primary()
}

func isBinary(word string) bool {
	switch word {
	case "=", "==", "!=", "<", ">", "-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-nt", "-ot", "-ef":
		return true
	}
	return false
}

// primary reads one test. POSIX: what two operands stand around is an operator,
// whatever they look like.
func (e *expression) primary() (bool, error) {
	if len(e.words) >= 3 && isBinary(e.words[1]) {
		left, op, right := e.take(), e.take(), e.take()
		return compareWords(left, op, right)
	}
	if e.peek() == "(" && len(e.words) > 1 {
		e.take()
		yes, err := e.or()
		if err == nil && e.take() != ")" {
			err = errors.New("a ) is missing")
		}
		return yes, err
	}
	word := e.take()
	if len(word) == 2 && word[0] == '-' && len(e.words) > 0 && strings.IndexByte("bcdefghknoprstuwxzLSGO", word[1]) >= 0 {
		return testFile(word[1], e.take()), nil
	}
	return word != "", nil
}

func compareWords(left, op, right string) (bool, error) {
	switch op {
	case "=", "==":
		return left == right, nil
	case "!=":
		return left != right, nil
	case "<":
		return left < right, nil
	case ">":
		return left > right, nil
	case "-nt", "-ot", "-ef":
		a, err1 := os.Stat(left)
		b, err2 := os.Stat(right)
		switch op {
		case "-ef":
			return err1 == nil && err2 == nil && os.SameFile(a, b), nil
		case "-ot":
			a, b, err1, err2 = b, a, err2, err1
		}
		return err1 == nil && (err2 != nil || a.ModTime().After(b.ModTime())), nil
	}
	a, err1 := strconv.ParseInt(strings.TrimSpace(left), 10, 64)
	b, err2 := strconv.ParseInt(strings.TrimSpace(right), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return false, fmt.Errorf("%s %s %s: not two numbers", left, op, right)
	}
	return map[string]bool{"-eq": a == b, "-ne": a != b, "-lt": a < b, "-le": a <= b, "-gt": a > b, "-ge": a >= b}[op], nil
}

func testFile(op byte, name string) bool {
	switch op {
	case 'z':
		return name == ""
	case 'n':
		return name != ""
	case 'r', 'w', 'x':
		return unix.Access(name, map[byte]uint32{'r': unix.R_OK, 'w': unix.W_OK, 'x': unix.X_OK}[op]) == nil
	case 't':
		fd, err := strconv.Atoi(name)
		return err == nil && term.IsTerminal(fd)
	case 'h', 'L':
		st, err := os.Lstat(name)
		return err == nil && st.Mode()&os.ModeSymlink != 0
	}
	st, err := os.Stat(name)
	if err != nil {
		return false
	}
	var sys unix.Stat_t
	_ = unix.Stat(name, &sys) // it was there a moment ago
	switch m := st.Mode(); op {
	case 'e':
		return true
	case 'f':
		return m.IsRegular()
	case 'd':
		return m.IsDir()
	case 's':
		return st.Size() > 0
	case 'b':
		return m&os.ModeDevice != 0 && m&os.ModeCharDevice == 0
	case 'c':
		return m&os.ModeCharDevice != 0
	case 'p':
		return m&os.ModeNamedPipe != 0
	case 'S':
		return m&os.ModeSocket != 0
	case 'u':
		return m&os.ModeSetuid != 0
	case 'g':
		return m&os.ModeSetgid != 0
	case 'k':
		return m&os.ModeSticky != 0
	case 'O':
		return int(sys.Uid) == os.Geteuid()
	case 'G':
		return int(sys.Gid) == os.Getegid()
	}
	return false
}

func expr(c *applet.Call) error {
	args := c.Args
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return applet.UsageError("no expression")
	}
	e := &expression{args}
	value, err := e.level(0)
	if err == nil && len(e.words) > 0 {
		err = fmt.Errorf("%q is not expected here", e.peek())
	}
	if err != nil {
		return applet.UsageError(err.Error())
	}
	fmt.Fprintln(c.Out, value)
	return failed(isNull(value))
}

func isNull(value string) bool {
	n, err := strconv.ParseInt(value, 10, 64)
	return value == "" || err == nil && n == 0
}

// exprLevels are the operators, those that bind least first.
var exprLevels = [][]string{{"|"}, {"&"}, {"=", "==", "!=", "<", "<=", ">", ">="}, {"+", "-"}, {"*", "/", "%"}, {":"}}

func (e *expression) level(n int) (string, error) {
	if n == len(exprLevels) {
		return e.operand()
	}
	left, err := e.level(n + 1)
	for err == nil && len(e.words) > 0 && contains(exprLevels[n], e.peek()) {
		op := e.take()
		var right string
		if right, err = e.level(n + 1); err == nil {
			left, err = exprApply(left, op, right)
		}
	}
	return left, err
}

func contains(list []string, word string) bool {
	for _, w := range list {
		if w == word {
			return true
		}
	}
	return false
}

func (e *expression) operand() (string, error) {
	if len(e.words) == 0 {
		return "", errors.New("an operand is missing")
	}
	switch word := e.take(); word {
	case "(":
		v, err := e.level(0)
		if err == nil && e.take() != ")" {
			err = errors.New("a ) is missing")
		}
		return v, err
	case "length":
		if len(e.words) > 0 {
			return strconv.Itoa(len([]rune(e.take()))), nil
		}
		return word, nil
	case "match":
		if len(e.words) > 1 {
			return exprApply(e.take(), ":", e.take())
		}
		return word, nil
	case "substr":
		if len(e.words) < 3 {
			return word, nil
		}
		text := []rune(e.take())
		at, err1 := strconv.Atoi(e.take())
		n, err2 := strconv.Atoi(e.take())
		if errors.Join(err1, err2) != nil || at < 1 || n < 1 || at > len(text) {
			return "", nil
		}
		return string(text[at-1 : min(len(text), at-1+n)]), nil
	case "index":
		if len(e.words) < 2 {
			return word, nil
		}
		return strconv.Itoa(strings.IndexAny(e.take(), e.take()) + 1), nil
	default:
		return word, nil
	}
}

func exprApply(left, op, right string) (string, error) {
	switch op {
	case "|":
		if !isNull(left) {
			return left, nil
		}
		if isNull(right) {
			return "0", nil
		}
		return right, nil
	case "&":
		if isNull(left) || isNull(right) {
			return "0", nil
		}
		return left, nil
	case ":":
		re, err := pattern.Compile(right, pattern.Options{})
		if err != nil {
			return "", err
		}
		m := re.FindStringSubmatchIndex(left)
		if m != nil && m[0] != 0 {
			m = nil
		}
		switch {
		case re.NumSubexp() > 0 && m == nil:
			return "", nil
		case re.NumSubexp() > 0:
			return left[max(0, m[2]):max(0, m[3])], nil
		case m == nil:
			return "0", nil
		}
		return strconv.Itoa(len([]rune(left[:m[1]]))), nil
	}
	a, err1 := strconv.ParseInt(left, 10, 64)
	b, err2 := strconv.ParseInt(right, 10, 64)
	numbers := err1 == nil && err2 == nil
	if contains(exprLevels[2], op) {
		n := strings.Compare(left, right)
		if numbers {
			n = int(max(-1, min(1, a-b)))
		}
		yes := map[string]bool{"=": n == 0, "==": n == 0, "!=": n != 0, "<": n < 0, "<=": n <= 0, ">": n > 0, ">=": n >= 0}[op]
		if yes {
			return "1", nil
		}
		return "0", nil
	}
	switch {
	case !numbers:
		return "", fmt.Errorf("%s %s %s: not two numbers", left, op, right)
	case b == 0 && (op == "/" || op == "%"):
		return "", errors.New("division by zero")
	}
	switch op {
	case "+":
		a += b
	case "-":
		a -= b
	case "*":
		a *= b
	case "/":
		a /= b
	case "%":
		a %= b
	}
	return strconv.FormatInt(a, 10), nil
}
