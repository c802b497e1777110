package ip

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// words are the arguments behind the options.
type words struct{ list []string }

func (w *words) next() (string, bool) {
	word, ok := w.peek()
	if ok {
		w.list = w.list[1:]
	}
	return word, ok
}

func (w *words) peek() (string, bool) {
	if len(w.list) == 0 {
		return "", false
	}
	return w.list[0], true
}

func (w *words) need() (string, error) {
	word, ok := w.next()
	if !ok {
		return "", fail(255, "Command line is not complete. Try option \"help\"")
	}
	return word, nil
}

// A key is a word with a meaning, alone (flag) or with a value behind it.
type key struct {
	names []string
	set   func(value string) error
	flag  func()
}

// parse reads words to the end; those that are no key go to rest.
func (w *words) parse(keys []key, rest func(word string) error) error {
next:
	for {
		word, ok := w.next()
		if !ok {
			return nil
		}
		for _, k := range keys {
			if !k.is(word) {
				continue
			}
			if k.flag != nil {
				k.flag()
				continue next
			}
			value, err := w.need()
			if err == nil {
				err = k.set(value)
			}
			if err != nil {
				return err
			}
			continue next
		}
		if err := rest(word); err != nil {
			return err
		}
	}
}

func (k key) is(word string) bool {
	for _, name := range k.names {
		if name == word {
			return true
		}
	}
	return false
}

func matchesAny(word string, names []string) bool {
	for _, name := range names {
		if strings.HasPrefix(name, word) {
			return true
		}
	}
	return false
}

// once takes the one word of its kind: a device, a prefix.
func once(to *string, what string) func(string) error {
	return func(word string) error {
		if *to != "" {
			return fail(255, "Error: either %q is duplicate, or %q is a garbage.", what, word)
		}
		*to = word
		return nil
	}
}

func text(to *string) func(string) error {
	return func(word string) error { *to = word; return nil }
}

func number(to *uint32, what string) func(string) error {
	return func(word string) error {
		n, err := strconv.ParseUint(word, 0, 32)
		if err != nil {
			return invalid(what, word)
		}
		*to = uint32(n)
		return nil
	}
}

func invalid(what, word string) error {
	return fail(255, "Error: argument %q is wrong: Invalid %q value", word, what)
}

// A table is names of numbers.
type table map[uint32]string

func (t table) name(n uint32) string {
	if name, ok := t[n]; ok {
		return name
	}
	return strconv.FormatUint(uint64(n), 10)
}

func (t table) number(word string) (uint32, bool) {
	for n, name := range t {
		if name == word {
			return n, true
		}
	}
	n, err := strconv.ParseUint(word, 0, 32)
	return uint32(n), err == nil
}

func (t table) set(to *uint32, what string) func(string) error {
	return func(word string) error {
		n, ok := t.number(word)
		if !ok {
			return invalid(what, word)
		}
		*to = n
		return nil
	}
}

func address(word string, family uint8) (netip.Addr, error) {
	a, err := netip.ParseAddr(word)
	if err != nil || family != unix.AF_UNSPEC && familyOf(a) != family {
		kind := "inet"
		if family == unix.AF_INET6 {
			kind = "inet6"
		}
		if family == unix.AF_UNSPEC {
			return a, fail(1, "Error: any valid address is expected rather than %q.", word)
		}
		return a, fail(1, "Error: %s address is expected rather than %q.", kind, word)
	}
	return a, nil
}

// prefix reads ADDRESS[/LEN]; without a length it is a host's.
func prefix(word string, family uint8) (netip.Prefix, error) {
	a, length, ok := strings.Cut(word, "/")
	addr, err := netip.ParseAddr(a)
	bad := fail(1, "Error: %s prefix is expected rather than %q.", map[uint8]string{unix.AF_INET: "inet", unix.AF_INET6: "inet6"}[family], word)
	if family == unix.AF_UNSPEC {
		bad = fail(1, "Error: any valid prefix is expected rather than %q.", word)
	}
	if err != nil || family != unix.AF_UNSPEC && familyOf(addr) != family {
		return netip.Prefix{}, bad
	}
	bits := addr.BitLen()
	if ok {
		if bits, err = strconv.Atoi(length); err != nil {
			mask, err := netip.ParseAddr(length) // 10.0.0.0/255.0.0.0
			if err != nil {
				return netip.Prefix{}, bad
			}
			bits, _ = net.IPMask(mask.AsSlice()).Size()
		}
	}
	p := netip.PrefixFrom(addr, bits)
	if !p.IsValid() {
		return p, bad
	}
	return p, nil
}

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func hardware(to *[]byte) func(string) error {
	return func(word string) error {
		mac, err := net.ParseMAC(word)
		if err != nil {
			return fail(1, "%q is invalid lladdr.", word)
		}
		*to = mac
		return nil
	}
}
