package doctor

import (
	"fmt"

	"github.com/minictr/minictr/runtime/step"
)

// Repair does what cures the finding, in order: steps of the plan by themselves, and
// commands by run. Reload puts the networks of all containers back.
func (f Finding) Repair(run func(command string) error, reload func() error) error {
	for _, r := range f.Remedies {
		if err := r.do(run, reload); err != nil {
			return fmt.Errorf("repair %s: %w", f.Check, err)
		}
	}
	return nil
}

func (r Remedy) do(run func(command string) error, reload func() error) error {
	switch {
	case r.Reload:
		return reload()
	case r.Renew != nil:
		return r.Renew.Renew()
	case r.rewrite != nil:
		return r.rewrite.do()
	case r.Step != nil:
		return apply(r.Step)
	}
	return run(r.Command)
}

// apply applies a step, unless the kernel has what it makes: some are an error then.
func apply(s step.Step) error {
	if s.Check() == nil {
		return nil
	}
	return s.Apply()
}
