package names

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
)

// The file of a record has a word and a value on each line:
//
//	container 11ef586f61dd092ddf475438e6afd22619f82ed120d62fa9f72c1bd753dbbb98
//	name web
//	alias www
//	address 172.17.0.2
//	gateway 172.17.0.1/16
//	server 192.0.2.53
//
// It is not JSON, other than what else is kept below the runroot: a decoder of that
// would be a sixth of the memory of minictr-dns, which stays.

// A field is what stands on the lines with one word.
type field struct {
	word   string
	values func(*Record) []string      // to be written; none for none
	set    func(*Record, string) error // one that was read
}

func fields() []field {
	return []field{
		text("container", func(r *Record) *string { return &r.Container }),
		text("name", func(r *Record) *string { return &r.Name }),
		{
			"alias",
			func(r *Record) []string { return r.Aliases },
			func(r *Record, value string) error { r.Aliases = append(r.Aliases, value); return nil },
		},
		value("address", netip.ParseAddr, func(r *Record) *netip.Addr { return &r.Address }),
		value("address6", netip.ParseAddr, func(r *Record) *netip.Addr { return &r.Address6 }),
		value("gateway", netip.ParsePrefix, func(r *Record) *netip.Prefix { return &r.Gateway }),
		value("gateway6", netip.ParsePrefix, func(r *Record) *netip.Prefix { return &r.Gateway6 }),
		{
			"internal",
			func(r *Record) []string { return map[bool][]string{true: {"yes"}}[r.Internal] },
			func(r *Record, value string) error { r.Internal = value == "yes"; return nil },
		},
		{
			"server",
			func(r *Record) (list []string) {
				for _, a := range r.Servers {
					list = append(list, a.String())
				}
				return list
			},
			func(r *Record, value string) error {
				a, err := netip.ParseAddr(value)
				r.Servers = append(r.Servers, a)
				return err
			},
		},
	}
}

// text is a field of text that is always there.
func text(word string, in func(*Record) *string) field {
	return field{
		word,
		func(r *Record) []string { return []string{*in(r)} },
		func(r *Record, value string) error { *in(r) = value; return nil },
	}
}

// value is a field of a type whose zero value means that there is none.
func value[T interface {
	IsValid() bool
	String() string
}](word string, parse func(string) (T, error), in func(*Record) *T) field {
	return field{
		word,
		func(r *Record) []string {
			if v := *in(r); v.IsValid() {
				return []string{v.String()}
			}
			return nil
		},
		func(r *Record, text string) (err error) { *in(r), err = parse(text); return err },
	}
}

// text is the content of the record's file.
func (r Record) text() (string, error) {
	var b strings.Builder
	for _, f := range fields() {
		for _, value := range f.values(&r) {
			if value == "" || strings.ContainsFunc(value, unicode.IsSpace) {
				return "", fmt.Errorf("%s %q: not one word", f.word, value)
			}
			b.WriteString(f.word + " " + value + "\n")
		}
	}
	return b.String(), nil
}

// parse reads the content of a record's file. Words that it does not know are for a
// later minictr.
func parse(text string) (Record, error) {
	var r Record
	for line := range strings.Lines(text) {
		word, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		for _, f := range fields() {
			if f.word != word {
				continue
			}
			if err := f.set(&r, value); err != nil {
				return Record{}, fmt.Errorf("%s: %w", word, err)
			}
		}
	}
	return r, nil
}
