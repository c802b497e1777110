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

// Quote makes a word for sh of any text, as it stands where that is enough.
func Quote(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%=,"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
