package network

import (
	"errors"
	"slices"

	"github.com/minictr/minictr/runtime/step"
)

// Intersection is what is in both configurations of one container.
func Intersection(a, b *Config) *Config {
	both := *a
	for _, e := range a.Endpoints {
		if b.Endpoint(e.Network.Name) == nil {
			both = *both.Without(e.Network.Name)
		}
	}
	both.Ports = slices.DeleteFunc(slices.Clone(a.Ports), func(p Port) bool { return !slices.Contains(b.Ports, p) })
	return &both
}

// Settle makes a running container's network what is in both configurations,
// wherever the change from the one to the other was broken off (Change). It can be
// called again.
func Settle(a, b *Config) error {
	both := Intersection(a, b)
	var errs []error
	for _, e := range slices.Concat(a.Endpoints, b.Endpoints) {
		if both.Endpoint(e.Network.Name) == nil {
			if e.Network.hasNames() {
				errs = append(errs, (&RemoveName{nameOf(a, e)}).Apply())
			}
			errs = append(errs, (&Detach{Endpoint: e, Netns: a.Netns}).Apply())
		}
	}
	for _, side := range []*Config{a, b} {
		gone, _ := republish(side, both)
		for _, s := range gone {
			errs = append(errs, s.Apply())
		}
	}
	for _, e := range both.Endpoints {
		for _, s := range RoutesOf(e, a.Netns) {
			if s.Check() != nil {
				errs = append(errs, s.Apply())
			}
		}
	}
	errs = append(errs, step.Run(Publish(both), nil))
	began := a
	if len(a.Endpoints) == 0 {
		began = b
	}
	for _, s := range a.Guest.around(nil, began, both) { // with the last network, lo
		errs = append(errs, s.Apply())
	}
	return errors.Join(errs...)
}
