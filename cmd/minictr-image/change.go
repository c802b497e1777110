package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// instructions are those of a Dockerfile that docker import --change takes.
var instructions = map[string]func(c *v1.Config, argument string) error{
	"CMD":        func(c *v1.Config, a string) error { c.Cmd = commandWords(a); return nil },
	"ENTRYPOINT": func(c *v1.Config, a string) error { c.Entrypoint = commandWords(a); return nil },
	"USER":       func(c *v1.Config, a string) error { c.User = a; return nil },
	"STOPSIGNAL": func(c *v1.Config, a string) error { c.StopSignal = a; return nil },
	"ONBUILD":    func(c *v1.Config, a string) error { c.OnBuild = append(c.OnBuild, a); return nil },
	"WORKDIR":    changeWorkdir,
	"ENV":        changeEnv,
	"LABEL":      changeLabel,
	"EXPOSE":     changeExpose,
	"VOLUME":     changeVolume,
}

// applyChange applies one instruction: `CMD ["/bin/sh"]`, `ENV A=b`, …
func applyChange(c *v1.Config, change string) error {
	word, argument, _ := strings.Cut(strings.TrimSpace(change), " ")
	apply, known := instructions[strings.ToUpper(word)]
	if !known {
		return fmt.Errorf("unknown instruction %q", word)
	}
	argument = strings.TrimSpace(argument)
	if argument == "" {
		return fmt.Errorf("%s needs an argument", strings.ToUpper(word))
	}
	return apply(c, argument)
}

// commandWords is the JSON form, or the words for a shell.
func commandWords(argument string) []string {
	if words, ok := jsonWords(argument); ok {
		return words
	}
	return []string{"/bin/sh", "-c", argument}
}

func jsonWords(argument string) ([]string, bool) {
	var words []string
	err := json.Unmarshal([]byte(argument), &words)
	return words, err == nil && strings.HasPrefix(argument, "[")
}

func changeWorkdir(c *v1.Config, argument string) error {
	if !path.IsAbs(argument) {
		argument = path.Join("/", c.WorkingDir, argument)
	}
	c.WorkingDir = path.Clean(argument)
	return nil
}

// changeEnv takes `NAME=value NAME2="with spaces"`, and the older `NAME value`.
func changeEnv(c *v1.Config, argument string) error {
	pairs, err := parsePairs(argument)
	for _, p := range pairs {
		c.Env = slices.DeleteFunc(c.Env, func(e string) bool { return strings.HasPrefix(e, p[0]+"=") })
		c.Env = append(c.Env, p[0]+"="+p[1])
	}
	return err
}

func changeLabel(c *v1.Config, argument string) error {
	pairs, err := parsePairs(argument)
	for _, p := range pairs {
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		c.Labels[p[0]] = p[1]
	}
	return err
}

func changeExpose(c *v1.Config, argument string) error {
	for _, port := range strings.Fields(argument) {
		number, protocol, found := strings.Cut(port, "/")
		if !found {
			protocol = "tcp"
		}
		if number == "" || strings.Trim(number, "0123456789-") != "" || !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
			return fmt.Errorf("port %q: must be PORT[-PORT][/tcp|udp|sctp]", port)
		}
		if c.ExposedPorts == nil {
			c.ExposedPorts = map[string]struct{}{}
		}
		c.ExposedPorts[number+"/"+protocol] = struct{}{}
	}
	return nil
}

func changeVolume(c *v1.Config, argument string) error {
	words, ok := jsonWords(argument)
	if !ok {
		words = strings.Fields(argument)
	}
	for _, dir := range words {
		if c.Volumes == nil {
			c.Volumes = map[string]struct{}{}
		}
		c.Volumes[dir] = struct{}{}
	}
	return nil
}

// parsePairs reads name=value words with the quotes of a shell.
func parsePairs(argument string) ([][2]string, error) {
	name, value, spaced := strings.Cut(argument, " ")
	if spaced && !strings.Contains(name, "=") {
		return [][2]string{{name, strings.TrimSpace(value)}}, nil
	}
	words, err := shellWords(argument)
	if err != nil {
		return nil, err
	}
	var pairs [][2]string
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%q: must be NAME=VALUE", w)
		}
		pairs = append(pairs, [2]string{name, value})
	}
	return pairs, nil
}

// shellWords splits at spaces outside of quotes. A backslash takes the next
// character as it is, but for single quotes.
func shellWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			word.WriteByte(s[i])
			inWord = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("quote without an end")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
