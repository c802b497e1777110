package seccomp

import (
	"math"
	"slices"
)

// A span is a range of system call numbers that are judged alike. It ends
// where the next one begins.
type span struct {
	first   uint32
	verdict verdict
	rules   []*rule // are tried first; verdict is for when none applies
	arch    *arch   // whose arguments the rules look at
}

// An entry is a rule for a number.
type entry struct {
	number uint32
	call   int
	rule   *rule
}

// section lists the spans of an architecture, from its first number to the last
// of 32 bits.
func (p *policy) section(a *arch) ([]span, error) {
	entries := p.entries(a)
	spans := make(spanList, 1, 128)
	spans[0] = span{first: a.base, verdict: p.fallback}
	var rules []*rule
	for len(entries) > 0 {
		number, count := entries[0].number, 1
		for count < len(entries) && entries[count].number == number {
			count++
		}
		rules = rules[:0]
		for _, e := range entries[:count] {
			rules = append(rules, e.rule)
		}
		always, err := decide(rules, entries[0].call)
		if err != nil {
			return nil, err
		}
		entries = entries[count:]
		if always != nil {
			spans.add(span{first: number, verdict: always.verdict})
		} else {
			spans.add(span{first: number, verdict: p.fallback, rules: slices.Clone(rules), arch: a})
		}
		spans.add(span{first: number + 1, verdict: p.fallback})
	}
	return p.newer(spans, a), nil
}

// entries lists the rules of an architecture by number, those for one number in
// the order of the profile.
func (p *policy) entries(a *arch) []entry {
	list := make([]entry, 0, 512)
	for _, g := range p.groups {
		for _, r := range g.rules {
			fitted := r.on(a)
			for _, call := range g.calls {
				if a.multiplex {
					list = appendMultiplexed(list, a, call, r)
				}
				if n, ok := a.number(call); ok {
					list = append(list, entry{n, call, fitted})
				}
			}
		}
	}
	// A stable sort of the entries takes three times as long as this.
	keys := make([]uint64, len(list))
	for i, e := range list {
		keys[i] = uint64(e.number)<<32 | uint64(i)
	}
	slices.Sort(keys)
	sorted := make([]entry, len(list))
	for i, key := range keys {
		sorted[i] = list[uint32(key)]
	}
	return sorted
}

func appendMultiplexed(list []entry, a *arch, call int, r *rule) []entry {
	holder, code, ok := multiplexed(callName(call))
	if !ok {
		return list
	}
	at, known := callNamed(holder)
	if !known {
		return list
	}
	if n, ok := a.number(at); ok {
		list = append(list, entry{n, at, r.through(code).on(a)})
	}
	return list
}

// newer answers ENOSYS for the numbers above the highest that the profile names,
// unless the default action permits calls anyway. s390x gets it for 0 as well,
// the number that its kernel reports for calls that it does not know (runc,
// patchbpf). A private range has an end of its own.
func (p *policy) newer(spans spanList, a *arch) []span {
	if p.closed || p.fallback.permits() || p.fallback == noSuchCall {
		return spans
	}
	highest, highestPrivate := p.highest(a)
	if highest == 0 {
		return spans
	}
	if a.zeroUnknown {
		spans.deny(a.base, a.base)
	}
	if highestPrivate == 0 {
		spans.deny(highest+1, math.MaxUint32)
		return spans
	}
	spans.deny(highest+1, a.private-1)
	spans.deny(highestPrivate+1, math.MaxUint32)
	return spans
}

// highest returns the highest numbers that the profile names, in the table and
// in the private range; 0 for none.
func (p *policy) highest(a *arch) (ordinary, privates uint32) {
	for _, g := range p.groups {
		for _, call := range g.calls {
			n, ok := a.number(call)
			switch {
			case !ok:
			case a.private != 0 && n >= a.private:
				privates = max(privates, n)
			default:
				ordinary = max(ordinary, n)
			}
		}
	}
	return ordinary, privates
}

// A spanList is in the order of the numbers, and no two neighbours are alike.
type spanList []span

// add appends a span, which begins at or after the last one.
func (l *spanList) add(s span) {
	last := len(*l) - 1
	if (*l)[last].first == s.first {
		*l = (*l)[:last]
		last--
	}
	if last >= 0 && (*l)[last].alike(s) {
		return
	}
	*l = append(*l, s)
}

func (s span) alike(other span) bool {
	return s.verdict == other.verdict && len(s.rules) == 0 && len(other.rules) == 0
}

// deny gives the numbers first to last the verdict noSuchCall.
func (l *spanList) deny(first, last uint32) {
	old := *l
	var next spanList
	put := func(s span) {
		if len(next) == 0 {
			next = spanList{s}
			return
		}
		next.add(s)
	}
	for i, s := range old {
		end := uint32(math.MaxUint32)
		if i+1 < len(old) {
			end = old[i+1].first - 1
		}
		if s.first < first {
			put(s)
		}
		if s.first <= first && first <= end {
			put(span{first: first, verdict: noSuchCall})
		}
		if end > last {
			s.first = max(s.first, last+1)
			put(s)
		}
	}
	*l = next
}
