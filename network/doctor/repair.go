package doctor

import (
	"fmt"

	"github.com/minictr/minictr/runtime/step"
)

// Hands are what Repair does by others.
type Hands struct {
	Run    func(command string) error // runs a command of the shell
	Reload func() error               // puts the networks of all containers back
	Detach func(Filter) error         // takes a BPF program off a cgroup
}

// Repair does what cures the finding, in order.
func (f Finding) Repair(h Hands) error {
	for _, r := range f.Remedies {
		if err := r.do(h); err != nil {
			return fmt.Errorf("repair %s: %w", f.Check, err)
		}
	}
	return nil
}

func (r Remedy) do(h Hands) error {
	switch {
	case r.Reload:
		return h.Reload()
	case r.Renew != nil:
		return r.Renew.Renew()
	case r.Detach != nil:
		return h.Detach(*r.Detach)
	case r.rewrite != nil:
		return r.rewrite.do()
	case r.Step != nil:
		return apply(r.Step)
	}
	return h.Run(r.Command)
}

// apply applies a step, unless the kernel has what it makes: some are an error then.
func apply(s step.Step) error {
	if s.Check() == nil {
		return nil
	}
	return s.Apply()
}
