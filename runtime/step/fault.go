package step

// FailAt returns the same steps with the i-th failing with err instead of
// being applied. Tests use it to show that every failure is undone.
func FailAt(steps []Step, i int, err error) []Step {
	out := append([]Step(nil), steps...)
	out[i] = failing{Step: out[i], err: err}
	return out
}

type failing struct {
	Step
	err error
}

func (f failing) Apply() error { return f.err }
