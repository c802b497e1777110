package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// The third table is of networks: how fast a container's packets get out of it,
// which the kernel decides and what is made of bridges, veth pairs and rules; and
// what a container or a port costs that is not the first.

// beside is how many containers there are already.
const beside = 200

// A flow is how long one measurement of throughput takes.
const flow = 2 * time.Second

func throughput(s *subject) bool { return s.pid != "" }

func ours(s *subject) bool { return s.ports != "" }

var flowRows = []row{
	{name: "container to host", unit: "Gbit/s", rounds: slow, can: throughput, running: true, once: flowToHost},
	{name: "container to container", unit: "Gbit/s", rounds: slow, can: throughput, running: true, once: flowToContainer},
}

func benchNetworks(w io.Writer, a *arena) error {
	all := selected(subjects, []string{"minictr", "podman"})
	for _, s := range all {
		s.prepare(a)
	}
	fmt.Fprint(w, subjectWords(all)+"\n")
	t := table{subjects: all}
	if _, err := exec.LookPath("iperf3"); err != nil {
		fmt.Fprintf(w, "no throughput: %v\n", err)
	} else {
		for _, r := range flowRows {
			t.add(r.name, r.unit, measure(a, all, r))
		}
	}
	for _, ports := range []string{"10000-10009:30000-30009", "20000-29999:30000-39999"} {
		r := row{name: "port add, beside " + ports, unit: "ms", rounds: fast, can: ours, once: addPort(ports)}
		t.add(r.name, r.unit, measure(a, all, r))
	}
	first := row{name: "run -d, the first", unit: "ms", rounds: fast, can: ours, once: runDetached}
	t.add(first.name, first.unit, measure(a, all, first))
	ids, err := startMany(a, all[0])
	if err == nil {
		next := row{name: fmt.Sprintf("run -d, beside %d", beside), unit: "ms", rounds: fast, can: ours, once: runDetached}
		t.add(next.name, next.unit, measure(a, all, next))
	}
	for _, id := range ids {
		err = errors.Join(err, quiet(a.fill(all[0].remove, id, 0)...))
	}
	fmt.Fprint(w, t.String())
	return err
}

// runDetached times the start of a container.
func runDetached(a *arena, s *subject, _ string) (float64, error) {
	id := a.id()
	took, err := timed(func() error { return quiet(a.fill(s.start, id, 0)...) })
	if err != nil {
		return took, err
	}
	return took, quiet(a.fill(s.remove, id, 0)...)
}

// startMany starts containers for others to be beside.
func startMany(a *arena, s *subject) (ids []string, err error) {
	var wg sync.WaitGroup
	errs := make([]error, a.workers)
	for range beside {
		ids = append(ids, a.id())
	}
	for worker := range a.workers {
		wg.Go(func() {
			for i := worker; i < len(ids); i += a.workers {
				if errs[worker] = quiet(a.fill(s.start, ids[i], worker)...); errs[worker] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return ids, errors.Join(errs...)
}

// addPort times the publishing of a port by a container that has many, and takes
// it back.
func addPort(ports string) func(a *arena, s *subject, id string) (float64, error) {
	holders := map[*subject]string{}
	return func(a *arena, s *subject, _ string) (float64, error) {
		if holders[s] == "" {
			holders[s] = a.id()
			start := strings.Replace(s.start, " run -d ", " run -d -p "+ports+" ", 1)
			if err := quiet(a.fill(start, holders[s], 0)...); err != nil {
				return 0, err
			}
		}
		took, err := timed(func() error { return quiet(a.fill(s.ports+" add {id} 9000:90", holders[s], 0)...) })
		return took, errors.Join(err, quiet(a.fill(s.ports+" rm {id} 9000:90", holders[s], 0)...))
	}
}

// An inside is the network namespace of a container.
type inside struct{ enter []string }

func (s *subject) inside(a *arena, id string) (inside, error) {
	words := a.fill(s.pid, id, 0)
	pid, err := exec.Command(words[0], words[1:]...).Output()
	return inside{[]string{"nsenter", "-t", strings.TrimSpace(string(pid)), "-n"}}, err
}

// command is one to be run in there; in the namespace of the benchmark for the
// zero value.
func (i inside) command(words ...string) *exec.Cmd {
	words = append(append([]string{}, i.enter...), words...)
	return exec.Command(words[0], words[1:]...)
}

// address is its own, or that of its gateway.
func (i inside) address(gateway bool) (string, error) {
	var list []struct {
		Gateway string
		Info    []struct{ Local string } `json:"addr_info"`
	}
	command := []string{"ip", "-j", "-4", "address", "show", "eth0"}
	if gateway {
		command = []string{"ip", "-j", "-4", "route", "show", "default"}
	}
	out, err := i.command(command...).Output()
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("address of a container: %w", err)
	case gateway && len(list) > 0:
		return list[0].Gateway, nil
	case !gateway && len(list) > 0 && len(list[0].Info) > 0:
		return list[0].Info[0].Local, nil
	}
	return "", errors.New("a container without an address")
}

func flowToHost(a *arena, s *subject, id string) (float64, error) {
	from, err := s.inside(a, id)
	if err != nil {
		return 0, err
	}
	to, err := from.address(true)
	if err != nil {
		return 0, err
	}
	return measureFlow(from, inside{}, to)
}

func flowToContainer(a *arena, s *subject, id string) (rate float64, err error) {
	from, err := s.inside(a, id)
	if err != nil {
		return 0, err
	}
	other := a.id()
	if err := quiet(a.fill(s.start, other, 0)...); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, quiet(a.fill(s.remove, other, 0)...)) }()
	server, err := s.inside(a, other)
	if err != nil {
		return 0, err
	}
	to, err := server.address(false)
	if err != nil {
		return 0, err
	}
	return measureFlow(from, server, to)
}

// measureFlow returns what iperf3 measures, in Gbit/s.
func measureFlow(from, to inside, address string) (rate float64, err error) {
	server := to.command("iperf3", "-s", "-1", "-B", address)
	if err := server.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = server.Process.Kill() // it has ended after one client
		_ = server.Wait()         // killed or not
	}()
	for range 40 {
		client := from.command("iperf3", "-c", address, "-t", fmt.Sprint(flow.Seconds()), "-J")
		out, failed := client.Output()
		var report struct {
			Error string
			End   struct {
				Received struct {
					Rate float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			}
		}
		err = errors.Join(failed, json.Unmarshal(out, &report))
		if err == nil && report.Error != "" {
			err = fmt.Errorf("iperf3: %s", report.Error)
		}
		if err == nil {
			return report.End.Received.Rate / 1e9, nil
		}
		time.Sleep(50 * time.Millisecond) // the server may not listen yet
	}
	return 0, err
}
