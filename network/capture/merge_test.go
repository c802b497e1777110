package capture

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// pair is a cable, and an uplink that has no other end.
func pair() []Place {
	return []Place{{Name: "eth0", Role: Inside, Other: 1}, {Name: "veth", Role: Outside, Other: 0}, {Name: "up", Role: Uplink, Other: -1}}
}

// shown writes sightings as "out eth0@1 veth@2 A", or "… !veth" where that missed it.
func shown(list []*Sighting) (lines []string) {
	for _, s := range list {
		words := []string{string(s.Direction)}
		for _, c := range s.Copies {
			words = append(words, fmt.Sprintf("%s@%d", pair()[c.Place].Name, c.At.UnixMilli()))
		}
		if s.Missed >= 0 {
			words = append(words, "!"+pair()[s.Missed].Name)
		}
		lines = append(lines, strings.Join(append(words, string(s.Copies[0].Bytes)), " "))
	}
	return lines
}

func TestMerge(t *testing.T) {
	const eth0, veth, up = 0, 1, 2
	for name, c := range map[string]struct {
		copies []Copy // At in milliseconds
		want   []string
	}{
		"out, both ends":              {[]Copy{at(eth0, 1, Out, "A"), at(veth, 2, Out, "A")}, []string{"out eth0@1 veth@2 A"}},
		"told by the second first":    {[]Copy{at(veth, 2, Out, "A"), at(eth0, 1, Out, "A")}, []string{"out eth0@1 veth@2 A"}},
		"in":                          {[]Copy{at(veth, 1, In, "A"), at(eth0, 2, In, "A")}, []string{"in veth@1 eth0@2 A"}},
		"at one time":                 {[]Copy{at(veth, 1, Out, "A"), at(eth0, 1, Out, "A")}, []string{"out eth0@1 veth@1 A"}},
		"clocks that disagree":        {[]Copy{at(eth0, 2, Out, "A"), at(veth, 1, Out, "A")}, []string{"out eth0@2 veth@1 A"}},
		"lost between":                {[]Copy{at(eth0, 1, Out, "A")}, []string{"out eth0@1 !veth A"}},
		"two alike":                   {[]Copy{at(eth0, 1, Out, "A"), at(eth0, 2, Out, "A"), at(veth, 3, Out, "A"), at(veth, 4, Out, "A")}, []string{"out eth0@1 veth@3 A", "out eth0@2 veth@4 A"}},
		"alike, but back":             {[]Copy{at(eth0, 1, Out, "A"), at(veth, 2, In, "A")}, []string{"out eth0@1 !veth A", "in veth@2 !eth0 A"}},
		"too late":                    {[]Copy{at(eth0, 1, Out, "A"), at(veth, 200, Out, "A")}, []string{"out eth0@1 !veth A", "out veth@200 !eth0 A"}},
		"changed between":             {[]Copy{at(eth0, 1, Out, "A"), at(veth, 2, Out, "B")}, []string{"out eth0@1 !veth A", "out veth@2 !eth0 B"}},
		"an uplink is no cable's end": {[]Copy{at(eth0, 1, Out, "A"), at(veth, 2, Out, "A"), at(up, 3, Out, "A")}, []string{"out eth0@1 veth@2 A", "out up@3 A"}},
		"in the order of time":        {[]Copy{at(eth0, 5, Out, "B"), at(veth, 6, Out, "B"), at(eth0, 1, Out, "A"), at(veth, 2, Out, "A")}, []string{"out eth0@1 veth@2 A", "out eth0@5 veth@6 B"}},
	} {
		m := NewMerger(pair())
		for _, one := range c.copies {
			m.Add(one)
		}
		if diff := cmp.Diff(c.want, shown(m.Rest())); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
		if len(m.waiting) > 0 {
			t.Errorf("%s: %d still wait", name, len(m.waiting))
		}
	}
}

func at(place, ms int, d Direction, bytes string) Copy {
	return Copy{Place: place, At: time.UnixMilli(int64(ms)), Direction: d, Bytes: []byte(bytes)}
}

// What may still be joined, or be overtaken, is held back.
func TestTake(t *testing.T) {
	m := NewMerger(pair())
	m.Add(at(0, 100, Out, "A"))
	m.Add(at(0, 150, Out, "B"))
	if got := m.Take(time.UnixMilli(200)); len(got) > 0 {
		t.Errorf("too early: %v", shown(got))
	}
	m.Add(at(1, 101, Out, "A"))
	if diff := cmp.Diff([]string{"out eth0@100 veth@101 A"}, shown(m.Take(time.UnixMilli(201)))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"out eth0@150 !veth B"}, shown(m.Rest())); diff != "" {
		t.Error(diff)
	}
}
