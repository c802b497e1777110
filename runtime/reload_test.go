package runtime

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/names"
	"golang.org/x/sys/unix"
)

// TestReloadOfEnded: who puts back what a container has lost waits for who takes it
// down, and the reverse; of one that has ended nothing is put back.
func TestReloadOfEnded(t *testing.T) {
	w := newWorld(t)
	config := w.layered("sleep")
	config.Detach, config.Network.Uses = true, []network.Use{{Network: network.DefaultNetwork}}
	if _, err := w.Run(config, Standard{}, Watch{}); err != nil {
		t.Fatal(err)
	}
	id := config.ID
	c := w.container(t, id)
	lock, err := (&rewiring{Runtime: w.Runtime, id: id}).lockRewired(unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.reloadContainer(id, Watch{}) }()
	select {
	case err := <-done:
		t.Errorf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := errors.Join(lock.Close(), <-done, w.Stop(c, 0), w.reloadContainer(id, Watch{})); err != nil {
		t.Fatal(err)
	}
	if list, err := names.List(w.Runroot, network.DefaultNetwork); len(list) > 0 || err != nil {
		t.Errorf("there are the names %v, %v", list, err)
	}
	if _, err := os.Lstat(w.running(id)); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
