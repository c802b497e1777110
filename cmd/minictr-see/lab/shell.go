package lab

import (
	"fmt"
	"os/exec"
)

// Shell is an interactive shell for the lab, with the lab's name in its prompt: bash
// where the machine has it. Enter starts it.
func (l *Lab) Shell(environment []string) (*exec.Cmd, error) {
	// Of sh, ENV is read by what is interactive; bash has a flag for it.
	prompt := fmt.Sprintf("PS1='lab %s:\\w# '\n", l.Name)
	program, args := "/bin/sh", []string{"-i"}
	if _, err := exec.LookPath("/bin/bash"); err == nil {
		program, args = "/bin/bash", []string{"--rcfile", stateDir + "/shell", "-i"}
	} else {
		prompt = fmt.Sprintf("PS1='lab %s# '\n", l.Name)
	}
	if err := l.write("shell", prompt); err != nil {
		return nil, err
	}
	c := exec.Command(program, args...)
	c.Env = append(l.Environment(environment), "ENV="+stateDir+"/shell")
	return c, nil
}
