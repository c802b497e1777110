package doctor

import "time"

// settling is how long the kernel may take to ask for a neighbour again, whose answer
// was lost because a cable had just been plugged in.
const settling = 1100 * time.Millisecond

// Look reads and diagnoses. Where nothing is wrong but that a name server keeps silent,
// it looks once more: that is so for a second after a cable was plugged in.
func Look(r Request) (*Report, error) {
	report, err := look(r)
	if err == nil {
		report.pid, report.young = r.Patient.Pid, time.Since(r.Patient.Started) < beginning
	}
	return report, err
}

func look(r Request) (*Report, error) {
	begin := time.Now()
	f, err := Read(r)
	if err != nil {
		return nil, err
	}
	report := Diagnose(f)
	if report.Cause == nil || report.Cause.Check != "name-server" || f.knownSilence() {
		return report, nil
	}
	time.Sleep(settling - time.Since(begin))
	r.Survey = nil
	if f, err = Read(r); err != nil {
		return nil, err
	}
	return Diagnose(f), nil
}

// knownSilence reports whether it is known why a server does not answer.
func (f *Facts) knownSilence() bool {
	for _, s := range f.Names {
		if !s.Answered && (s.Stopped || s.Pid == 0) {
			return true
		}
	}
	return false
}
