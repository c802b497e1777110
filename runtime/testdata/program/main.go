// The program that the tests run in containers: it is all that their root file
// system holds, so it needs no image. Called "true" it does nothing; "sleep"
// waits; "say" prints its arguments; "exit" ends with a code; "pid" prints its
// process id; "tell" prints what it can see of itself.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	args := os.Args[1:]
	switch filepath.Base(os.Args[0]) {
	case "sleep":
		time.Sleep(time.Hour)
	case "say":
		fmt.Println(strings.Join(args, " "))
	case "exit":
		code, err := strconv.Atoi(args[0])
		if err != nil {
			panic(err)
		}
		os.Exit(code)
	case "pid":
		fmt.Println(os.Getpid())
	case "cat":
		for _, name := range args {
			b, err := os.ReadFile(name)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Stdout.Write(b)
		}
	case "links":
		for _, name := range args {
			target, err := os.Readlink(name)
			fmt.Println(name, target, err)
		}
	}
}
