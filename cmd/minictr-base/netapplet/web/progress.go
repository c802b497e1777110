package web

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// onTerminal tells whether somebody sees the progress.
func (f *fetcher) onTerminal() bool {
	file, ok := f.Err.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

const barCells = 30

// showProgress draws a bar over itself until all is there.
func (f *fetcher) showProgress(name string, done *atomic.Int64, total int64, finished <-chan struct{}) {
	begun := time.Now()
	tick := time.NewTicker(time.Second / 5)
	defer tick.Stop()
	for {
		over := false
		select {
		case <-finished:
			over = true
		case <-tick.C:
		}
		n := done.Load()
		rate := float64(n) / max(time.Since(begun).Seconds(), 1e-3)
		bar := strings.Repeat(" ", barCells)
		percent := "    "
		if total > 0 {
			full := int(min(n, total) * barCells / total)
			bar = strings.Repeat("*", full) + strings.Repeat(" ", barCells-full)
			percent = fmt.Sprintf("%3d%%", n*100/total)
		}
		fmt.Fprintf(f.Err, "\r%-20.20s %s |%s| %8s  %8s/s", name, percent, bar, size(float64(n)), size(rate))
		if over {
			fmt.Fprintln(f.Err)
			return
		}
	}
}

func size(n float64) string {
	for _, unit := range []string{"B", "K", "M", "G"} {
		if n < 1000 {
			return fmt.Sprintf("%.4g%s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprintf("%.4gT", n)
}
