package main

import (
	"fmt"
)

// dryRun prints the script that makes the container's network without minictr.
func (a *app) dryRun(f *runFlags) error {
	script, err := a.runtime().NetworkScript(&f.Config)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(a.out, script)
	return err
}
