package cgroups

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseIO(t *testing.T) {
	want := []IOStats{{Major: 8, Minor: 16, ReadBytes: 1459200, WriteBytes: 314773504, Reads: 192, Writes: 353}}
	v2 := parseIOStat("8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\nrubbish\n")
	if diff := cmp.Diff(want, v2); diff != "" {
		t.Error("v2:", diff)
	}
	v1 := parseThrottle(
		"8:16 Read 1459200\n8:16 Write 314773504\n8:16 Sync 0\n8:16 Total 316232704\nTotal 316232704\n",
		"8:16 Read 192\n8:16 Write 353\n8:16 Total 545\nTotal 545\n")
	if diff := cmp.Diff(want, v1); diff != "" {
		t.Error("v1:", diff)
	}
}

func TestParsePressure(t *testing.T) {
	got := parsePressure("some avg10=1.50 avg60=0.25 avg300=0.00 total=123\nfull avg10=0.00 avg60=0.00 avg300=99.00 total=4\n")
	want := &Pressure{
		Some: PressureLine{Avg10: 1.5, Avg60: 0.25, Total: 123 * time.Microsecond},
		Full: PressureLine{Avg300: 99, Total: 4 * time.Microsecond},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseKeys(t *testing.T) {
	got := parseKeys("low 0\noom_kill 3\nlimit max\nrubbish\nnegative -1\n")
	want := map[string]uint64{"low": 0, "oom_kill": 3, "limit": Unlimited}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzStats(f *testing.F) {
	f.Add("8:16 rbytes=1 wbytes=2 rios=3 wios=4\nsome avg10=1.50 avg60=0.25 avg300=0.00 total=123\n8:16 Read 1\n")
	f.Fuzz(func(t *testing.T, content string) {
		seen := make(map[[2]uint64]bool)
		for _, s := range parseThrottle(content, content) {
			if seen[[2]uint64{s.Major, s.Minor}] {
				t.Errorf("device %d:%d twice", s.Major, s.Minor)
			}
			seen[[2]uint64{s.Major, s.Minor}] = true
		}
		parseIOStat(content)
		parseKeys(content)
		if parsePressure(content) == nil {
			t.Error("no pressure")
		}
	})
}
