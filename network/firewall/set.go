package firewall

import (
	"bytes"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// A set is what a rule looks a register up in. A map gives a value back, a
// verdict map a verdict.
type set struct {
	name     string
	flags    uint32
	keyType  uint32 // nft's own number of the type, for the text
	length   int    // bytes of a key
	fields   []int  // bytes of each field of a concatenation, if there are ranges in it
	elements []element
	fallback *element // the one that matches everything, "*"
}

type element struct {
	key     []byte
	end     []byte // the last key of a range of a concatenation
	behind  bool   // the first key behind an interval, and no element itself
	value   []byte
	verdict *choice
}

// linux/netfilter/nf_tables.h; x/sys does not have them yet.
const (
	setElemKeyEnd   = 10 // NFTA_SET_ELEM_KEY_END, Linux 5.6
	setElemCatchall = 2  // NFT_SET_ELEM_CATCHALL, Linux 5.13
	setDescConcat   = 2  // NFTA_SET_DESC_CONCAT
	setFieldLength  = 1  // NFTA_SET_FIELD_LEN
)

// sets reads the sets of the table that its rules look something up in.
func (c *conn) sets(t *table) error {
	used := map[string]bool{}
	for _, home := range t.chains {
		for _, r := range home.rules {
			for _, e := range r.expressions {
				if e.name == "lookup" {
					used[e.data.text(unix.NFTA_LOOKUP_SET)] = true
				}
			}
		}
	}
	if len(used) == 0 {
		return nil
	}
	err := c.dump(unix.NFT_MSG_GETSET, t.family, appendText(nil, unix.NFTA_SET_TABLE, t.name), func(family uint8, a attributes) {
		if family != t.family || a.text(unix.NFTA_SET_TABLE) != t.name || !used[a.text(unix.NFTA_SET_NAME)] {
			return
		}
		s := &set{name: a.text(unix.NFTA_SET_NAME), flags: a.u32(unix.NFTA_SET_FLAGS), keyType: a.u32(unix.NFTA_SET_KEY_TYPE), length: int(a.u32(unix.NFTA_SET_KEY_LEN))}
		a.get(unix.NFTA_SET_DESC).get(setDescConcat).nested(func(field attributes) {
			s.fields = append(s.fields, int(field.u32(setFieldLength)))
		})
		t.sets[s.name] = s
	})
	if err != nil {
		return err
	}
	for _, s := range t.sets {
		if err := c.elements(t, s); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) elements(t *table, s *set) error {
	filter := appendText(appendText(nil, unix.NFTA_SET_ELEM_LIST_TABLE, t.name), unix.NFTA_SET_ELEM_LIST_SET, s.name)
	err := c.dump(unix.NFT_MSG_GETSETELEM, t.family, filter, func(_ uint8, a attributes) {
		a.get(unix.NFTA_SET_ELEM_LIST_ELEMENTS).nested(func(e attributes) { s.add(parseElement(e), e.u32(unix.NFTA_SET_ELEM_FLAGS)) })
	})
	slices.SortStableFunc(s.elements, func(a, b element) int {
		if order := bytes.Compare(a.key, b.key); order != 0 || a.behind == b.behind {
			return order
		}
		if a.behind { // the next interval begins where the last one ends
			return -1
		}
		return 1
	})
	return err
}

func (s *set) add(e element, flags uint32) {
	e.behind = flags&unix.NFT_SET_ELEM_INTERVAL_END != 0
	if flags&setElemCatchall != 0 {
		s.fallback = &e
		return
	}
	s.elements = append(s.elements, e)
}

func parseElement(a attributes) element {
	e := element{key: a.data(unix.NFTA_SET_ELEM_KEY), end: a.data(setElemKeyEnd)}
	data := a.get(unix.NFTA_SET_ELEM_DATA)
	e.value = data.get(unix.NFTA_DATA_VALUE)
	if v := data.get(unix.NFTA_DATA_VERDICT); v != nil {
		e.verdict = parseVerdict(v)
	}
	return e
}

// find returns the element that the key matches, or nil.
func (s *set) find(key []byte) *element {
	switch {
	case s.flags&unix.NFT_SET_INTERVAL == 0:
		i, found := slices.BinarySearchFunc(s.elements, key, func(e element, key []byte) int { return bytes.Compare(e.key, key) })
		if found {
			return &s.elements[i]
		}
	case len(s.fields) > 1:
		for i := range s.elements {
			if s.within(&s.elements[i], key) {
				return &s.elements[i]
			}
		}
	default: // the last element that is not above the key: a beginning, or the key behind an end
		i, found := slices.BinarySearchFunc(s.elements, key, func(e element, key []byte) int { return bytes.Compare(e.key, key) })
		for found && i+1 < len(s.elements) && bytes.Equal(s.elements[i+1].key, key) {
			i++
		}
		if !found {
			i--
		}
		if i >= 0 && !s.elements[i].behind {
			return &s.elements[i]
		}
	}
	return s.fallback
}

// within compares field by field; each begins at a multiple of four bytes.
func (s *set) within(e *element, key []byte) bool {
	end := e.end
	if end == nil {
		end = e.key
	}
	at := 0
	for _, length := range s.fields {
		next := at + length
		if next > len(key) || next > len(e.key) || next > len(end) ||
			bytes.Compare(key[at:next], e.key[at:next]) < 0 || bytes.Compare(key[at:next], end[at:next]) > 0 {
			return false
		}
		at += (length + 3) &^ 3
	}
	return true
}

// A choice is a verdict: what a rule decides.
type choice struct {
	code  int32  // nfAccept, unix.NFT_JUMP, …
	chain string // of a jump or goto
}

func parseVerdict(a attributes) *choice {
	return &choice{code: int32(a.u32(unix.NFTA_VERDICT_CODE)), chain: a.text(unix.NFTA_VERDICT_CHAIN)}
}

// hostOrder is a number as the kernel has it in a register.
func hostOrder(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func (s *set) catchall() []element {
	if s.fallback == nil {
		return nil
	}
	return []element{*s.fallback}
}
