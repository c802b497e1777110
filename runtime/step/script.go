package step

import "strings"

// Script prints the steps as a POSIX shell script that makes the same changes
// without minictr: each step's words as a comment above its command.
func Script(steps []Step) string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\nset -eu\n")
	for _, s := range steps {
		b.WriteString("\n# " + strings.ReplaceAll(s.Words(), "\n", "\n# ") + "\n")
		b.WriteString(strings.TrimSuffix(s.String(), "\n") + "\n")
	}
	return b.String()
}
