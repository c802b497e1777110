package files

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/pattern"
)

// counted reads the tests whose value is N, +N or -N.
func (f *finder) counted(name, value string) (test, error) {
	units := map[string]time.Duration{"-mtime": 24 * time.Hour, "-mmin": time.Minute, "-atime": 24 * time.Hour, "-amin": time.Minute, "-ctime": 24 * time.Hour, "-cmin": time.Minute}
	if unit, ok := units[name]; ok {
		return numberTest(value, func(one *found) int64 {
			st := statOf(one.info)
			t := one.info.ModTime()
			switch name[1] {
			case 'a':
				t = time.Unix(st.Atim.Unix())
			case 'c':
				t = time.Unix(st.Ctim.Unix())
			}
			return int64(f.now.Sub(t) / unit)
		})
	}
	switch name {
	case "-size":
		unit := int64(512)
		if i := strings.IndexAny(value, "cwbkMG"); i >= 0 && i == len(value)-1 {
			unit = map[byte]int64{'c': 1, 'w': 2, 'b': 512, 'k': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}[value[i]]
			value = value[:i]
		}
		return numberTest(value, func(one *found) int64 { return (one.info.Size() + unit - 1) / unit })
	case "-links":
		return numberTest(value, func(one *found) int64 { return int64(statOf(one.info).Nlink) })
	case "-inum":
		return numberTest(value, func(one *found) int64 { return int64(statOf(one.info).Ino) })
	}
	return nil, fmt.Errorf("%s is unknown", name)
}

func numberTest(value string, of func(*found) int64) (test, error) {
	n, err := strconv.ParseInt(strings.TrimLeft(value, "+-"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is not a number", value)
	}
	return func(one *found) bool {
		switch value[0] {
		case '+':
			return of(one) > n
		case '-':
			return of(one) < n
		}
		return of(one) == n
	}, nil
}

func globTest(fold bool, glob string, of func(*found) string) (test, error) {
	text := pattern.Glob(glob)
	if fold {
		text = "(?i)" + text
	}
	re, err := regexp.Compile("(?s)" + text)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", glob, err)
	}
	return func(one *found) bool { return re.MatchString(of(one)) }, nil
}

func permTest(value string) (test, error) {
	text := strings.TrimLeft(value, "-/")
	wanted, err := applet.ParseMode(text, 0, 0)
	if err != nil {
		return nil, err
	}
	return func(one *found) bool {
		bits := applet.Bits(one.info.Mode())
		switch value[0] {
		case '-':
			return bits&wanted == wanted
		case '/':
			return wanted == 0 || bits&wanted != 0
		}
		return bits == wanted
	}, nil
}

func isEmpty(one *found) bool {
	if one.info.IsDir() {
		items, err := os.ReadDir(one.path)
		return err == nil && len(items) == 0
	}
	return one.info.Mode().IsRegular() && one.info.Size() == 0
}
