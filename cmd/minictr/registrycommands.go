package main

import (
	"errors"
	"os"
	"slices"

	"github.com/spf13/cobra"
)

// registriesFlag is what every command that talks to a registry has.
func registriesFlag(c *cobra.Command) {
	c.Flags().String("registries-conf", "", "configuration of registries in place of /etc/minictr/registries.conf or /etc/containers/registries.conf (also $MINICTR_REGISTRIES_CONF)")
}

func pushCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "push [FLAGS] IMAGE", Args: cobra.ExactArgs(1), RunE: a.handOn("push"),
		Long: "Push uploads an image to the registry that its name says, as it was pulled, loaded or built:\nthe digest stays the same. Of an image for several platforms it is the one that is here.",
	}
	s := c.Flags()
	s.BoolP("quiet", "q", false, "show no progress")
	s.String("progress", "auto", "how to show progress: auto, plain or none")
	registriesFlag(c)
	return c
}

func loginCommand(a *app) *cobra.Command {
	var password string
	c := &cobra.Command{
		Use: "login [FLAGS] [SERVER]", Args: cobra.MaximumNArgs(1),
		Long: "Login checks user name and password with a registry (docker.io by default) and keeps them\nfor pull and push, where docker login keeps them.",
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("password") {
				return a.handOn("login")(c, args)
			}
			if c.Flags().Changed("password-stdin") {
				return usageError{errors.New("--password and --password-stdin exclude each other")}
			}
			a.warn(errors.New("a password on the command line is seen by everybody (ps); --password-stdin hides it"))
			return a.loginWith(c, password, args)
		},
	}
	s := c.Flags()
	s.StringP("username", "u", "", "user name; asked for by default")
	s.StringVarP(&password, "password", "p", "", "password; better give it with --password-stdin, or be asked")
	s.Bool("password-stdin", false, "read the password from standard input")
	registriesFlag(c)
	return c
}

// loginWith hands the password on through a pipe, and not for one more process
// list.
func (a *app) loginWith(c *cobra.Command, password string, args []string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	go func() {
		_, _ = w.WriteString(password) // who does not read it says so itself
		w.Close()
	}()
	handed := []string{"login", "--password-stdin", "--"}
	for _, name := range []string{"username", "registries-conf"} {
		if f := c.Flags().Lookup(name); f.Changed {
			handed = slices.Insert(handed, 1, "--"+name+"="+f.Value.String())
		}
	}
	piped := *a
	piped.in = r
	return piped.imageProgram(append(handed, args...)...)
}

func logoutCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "logout [SERVER]", Args: cobra.MaximumNArgs(1), RunE: a.handOn("logout"),
		Long: "Logout forgets the credentials for a registry (docker.io by default).",
	}
}
