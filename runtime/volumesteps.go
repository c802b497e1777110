package runtime

import (
	"errors"

	"github.com/minictr/minictr/rootfs/volume"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// makeVolume is a volume that a mount names and that is not there.
type makeVolume struct {
	runtime *Runtime
	volume  volume.Volume
	made    bool // not by another container in between
}

func (s *makeVolume) Apply() (err error) {
	s.made, err = s.runtime.Volumes().Create(s.volume)
	return err
}

// Undo removes the volume, unless another container has begun to use it.
func (s *makeVolume) Undo() error {
	if !s.made {
		return nil
	}
	return ignoreInUse(s.runtime.RemoveVolume(s.volume.Name))
}

func (s *makeVolume) Check() error {
	_, err := s.runtime.Volumes().Lookup(s.volume.Name)
	return err
}

func (s *makeVolume) Words() string { return "make the volume " + s.volume.Name }

func (s *makeVolume) String() string {
	return "mkdir -p -m 755 " + step.Quote(s.runtime.Volumes().Mountpoint(&s.volume))
}

// fillVolume copies into an empty volume what the image has at its place. Undo
// leaves the copy: where the volume was made for this container it goes with it,
// and in another one somebody may have changed it since.
type fillVolume struct {
	launch      *launch
	held        *volume.Hold
	content     int // the volume
	source      int // the directory in the image
	destination string
}

func (s *fillVolume) Apply() error { return s.held.Fill(s.content, s.copy) }

// copy is as the container's root where that is not the host's: the copy is made
// on an idmapped mount, so that on the disk it belongs to whom it does in the
// image.
func (s *fillVolume) copy(to int) error {
	l := s.launch
	if len(l.config.UIDMappings) > 0 {
		ns, err := l.userNamespace()
		if err != nil {
			return err
		}
		mapped, err := l.idMount(descriptorPath(to), ns)
		if err != nil {
			return err
		}
		if to, err = unix.Openat(mapped, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		defer unix.Close(to)
	}
	return l.asRootOfContainer(func() error { return volume.CopyTree(s.source, to, l.signals.ending) })
}

func (s *fillVolume) Undo() error { return nil }

func (s *fillVolume) Check() error {
	empty, err := volume.IsEmpty(s.content)
	if err == nil && empty {
		return step.Fail("check volume", s.held.Volume.Name, errors.New("it is empty"))
	}
	return err
}

func (s *fillVolume) Words() string {
	return "fill the volume " + s.held.Volume.Name + " with what the image has at " + s.destination
}

func (s *fillVolume) String() string {
	return `cp -a "$rootfs"` + step.Quote(s.destination+"/.") + " " + step.Quote(s.launch.Volumes().Mountpoint(s.held.Volume))
}
