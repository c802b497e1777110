package kernel

import (
	"fmt"
	"os/exec"
	"strings"
)

// WriteProgram writes an executable file, by another process. Were this one to
// write it, a process that another test starts at that moment would have the file
// open for writing until its own execve(2), and until then nobody could run the
// program (ETXTBSY; golang.org/issue/22315).
func WriteProgram(path, text string) error {
	c := exec.Command("sh", "-c", `cat >"$0" && chmod 755 "$0"`, path)
	c.Stdin = strings.NewReader(text)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("write %s: %w: %s", path, err, out)
	}
	return nil
}
