package system

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

func date(c *applet.Call) error {
	call := *c
	for i, arg := range call.Args { // -Iseconds, whose value is optional
		if kind, ok := strings.CutPrefix(arg, "-I"); ok && kind != "" {
			call.Args = append(append(append([]string(nil), call.Args[:i]...), "--iso-8601="+kind), call.Args[i+1:]...)
			break
		}
	}
	o, err := call.Options("uRId:r:s:D:", "utc=u", "universal=u", "date=d", "reference=r", "set=s", "rfc-email=R", "iso-8601?", "rfc-3339:")
	if err != nil {
		return err
	}
	now := time.Now()
	switch {
	case o.Has("d"):
		if now, err = applet.ParseTime(o.Value("d", ""), now); err != nil {
			return err
		}
	case o.Has("r"):
		st, err := os.Stat(o.Value("r", ""))
		if err != nil {
			return err
		}
		now = st.ModTime()
	case o.Has("s"):
		if now, err = applet.ParseTime(o.Value("s", ""), now); err != nil {
			return err
		}
		tv := unix.NsecToTimeval(now.UnixNano())
		if err := unix.Settimeofday(&tv); err != nil {
			return os.NewSyscallError("settimeofday", err)
		}
	}
	if o.Has("u") {
		now = now.UTC()
	}
	format := "%a %b %e %H:%M:%S %Z %Y"
	switch {
	case o.Has("R"):
		format = "%a, %d %b %Y %H:%M:%S %z"
	case o.Has("I", "iso-8601"):
		format = map[string]string{"": "%Y-%m-%d", "date": "%Y-%m-%d", "hours": "%Y-%m-%dT%H%:z", "minutes": "%Y-%m-%dT%H:%M%:z", "seconds": "%Y-%m-%dT%H:%M:%S%:z", "s": "%Y-%m-%dT%H:%M:%S%:z", "ns": "%Y-%m-%dT%H:%M:%S,%N%:z"}[o.Value("I", o.Value("iso-8601", ""))]
	case o.Has("rfc-3339"):
		format = map[bool]string{true: "%Y-%m-%d", false: "%Y-%m-%d %H:%M:%S%:z"}[o.Value("rfc-3339", "") == "date"]
	}
	for _, arg := range o.Args {
		var plus bool
		if format, plus = strings.CutPrefix(arg, "+"); !plus {
			return applet.UsageError(fmt.Sprintf("%q is no format; -s sets the time", arg))
		}
	}
	fmt.Fprintln(c.Out, strftime(format, now))
	return nil
}

// strftime formats a time as strftime(3) does in the C locale.
func strftime(format string, t time.Time) string {
	layouts := map[byte]string{
		'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'c': "Mon Jan _2 15:04:05 2006", 'd': "02", 'D': "01/02/06", 'e': "_2", 'F': "2006-01-02",
		'H': "15", 'I': "03", 'j': "002", 'm': "01", 'M': "04", 'p': "PM", 'P': "pm", 'r': "03:04:05 PM", 'R': "15:04", 'S': "05", 'T': "15:04:05", 'x': "01/02/06", 'X': "15:04:05", 'y': "06", 'Y': "2006", 'z': "-0700", 'Z': "MST",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		pad := byte(0)
		if (format[i] == '-' || format[i] == '_' || format[i] == '0') && i+1 < len(format) {
			pad = format[i]
			i++
		}
		if format[i] == ':' && i+1 < len(format) && format[i+1] == 'z' {
			i++
			b.WriteString(t.Format("-07:00"))
			continue
		}
		out := ""
		if layout, ok := layouts[format[i]]; ok {
			out = t.Format(layout)
		} else {
			out = strftimeNumber(format[i], t)
		}
		if pad == '-' {
			if out = strings.TrimLeft(out, "0 "); out == "" {
				out = "0"
			}
		}
		b.WriteString(out)
	}
	return b.String()
}

func strftimeNumber(c byte, t time.Time) string {
	_, week := t.ISOWeek()
	year, _ := t.ISOWeek()
	weekday := int(t.Weekday())
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case '%':
		return "%"
	case 's':
		return strconv.FormatInt(t.Unix(), 10)
	case 'N':
		return fmt.Sprintf("%09d", t.Nanosecond())
	case 'C':
		return fmt.Sprintf("%02d", t.Year()/100)
	case 'k':
		return fmt.Sprintf("%2d", t.Hour())
	case 'l':
		return fmt.Sprintf("%2d", (t.Hour()+11)%12+1)
	case 'u':
		return strconv.Itoa((weekday+6)%7 + 1)
	case 'w':
		return strconv.Itoa(weekday)
	case 'V':
		return fmt.Sprintf("%02d", week)
	case 'G':
		return strconv.Itoa(year)
	case 'U':
		return fmt.Sprintf("%02d", (t.YearDay()+6-weekday)/7)
	case 'W':
		return fmt.Sprintf("%02d", (t.YearDay()+6-(weekday+6)%7)/7)
	}
	return "%" + string(c)
}
