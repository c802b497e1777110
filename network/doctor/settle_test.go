package doctor

import (
	"slices"
	"testing"
)

func ill(name string, pid int, young bool, cause ID) *Report {
	f := Finding{Check: cause, Status: Fault}
	return &Report{Container: name, pid: pid, young: young, Cause: &f, Checks: []Finding{f}}
}

func stray(link string) *Report {
	return &Report{Healthy: true, Checks: []Finding{{Check: "leaked-link", Status: Warn, Object: link}}}
}

// TestSettled: what is wrong while containers begin and end is no fault; what stays so
// is one, and is not looked at more often than it takes to know.
func TestSettled(t *testing.T) {
	fine := &Report{Container: "web", pid: 7, Healthy: true}
	for name, row := range map[string]struct {
		seen  []*Report // look by look; the last stays, nil: the container has ended
		want  ID        // the cause; "-": no report; "": healthy, without a remark
		looks int
	}{
		"well":                  {[]*Report{fine}, "", 1},
		"a fault":               {[]*Report{ill("web", 7, false, "route")}, "route", 1},
		"not up yet":            {[]*Report{ill("web", 7, true, "lo"), ill("web", 7, true, "published"), fine}, "", 3},
		"begins with a fault":   {[]*Report{ill("web", 7, true, "lo"), ill("web", 7, false, "lo")}, "lo", 2},
		"ends":                  {[]*Report{ill("web", 7, false, "namespace"), nil}, "-", 2},
		"ended and began again": {[]*Report{ill("web", 7, false, "namespace"), ill("web", 8, false, "namespace"), fine}, "", 3},
		"stays without one":     {[]*Report{ill("web", 7, false, "namespace")}, "namespace", 2},
		"ends in every look": {[]*Report{
			ill("web", 1, false, "container"), ill("web", 2, false, "container"), ill("web", 3, false, "container"), ill("web", 4, false, "container"), ill("web", 5, false, "container"),
			ill("web", 6, false, "container"), ill("web", 7, false, "container"), ill("web", 8, false, "container"), ill("web", 9, false, "container"),
		}, "-", 1 + looks},
		"a cable of one that begins": {[]*Report{stray("veth1"), stray("veth2"), fine}, "", 3},
		"a leaked cable":             {[]*Report{stray("veth1")}, "leaked-link", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			got, err := Settled(func() ([]*Report, error) {
				r := *orEnded(row.seen[min(n, len(row.seen)-1)])
				n++
				if r.Checks = slices.Clone(r.Checks); r.Container == "gone" {
					return nil, nil
				}
				return []*Report{&r}, nil
			})
			if cause := causeOf(got); err != nil || cause != row.want || n != row.looks {
				t.Errorf("%q after %d looks, %v; want %q after %d", cause, n, err, row.want, row.looks)
			}
		})
	}
}

func orEnded(r *Report) *Report {
	if r == nil {
		return &Report{Container: "gone"}
	}
	return r
}

// causeOf is the cause of the only report, or its only remark.
func causeOf(list []*Report) ID {
	switch {
	case len(list) == 0:
		return "-"
	case list[0].Cause != nil:
		return list[0].Cause.Check
	case len(list[0].Checks) > 0:
		return list[0].Checks[0].Check
	}
	return ""
}
