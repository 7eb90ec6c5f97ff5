package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"traverse.internal/config"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/coturn"
	"traverse.internal/internal/turndconf"
	"traverse.internal/turn"
)

// converted is what from-coturn prints.
type converted struct {
	cli.Envelope
	Settings []config.Setting `json:"settings"`
	Users    int              `json:"users"`
	Secrets  int              `json:"secrets"`
	Unknown  int              `json:"unknown"`
	Notes    []coturn.Note    `json:"notes"`
	TOML     string           `json:"toml"`
}

// maxCoturn is above what internal/coturn takes, so that it is the one to complain.
const maxCoturn = 2 << 20

func (a *app) fromCoturnCommand() *cobra.Command {
	files := coturn.Files{Users: "/etc/traverse/users", Secrets: "/etc/traverse/secrets"}
	var usersOut, secretsOut string
	cmd := &cobra.Command{
		Use: "from-coturn FILE", Short: "print the configuration that a turnserver.conf stands for", Args: exactArgs(1),
		Long: `What has no counterpart stands in the output as a comment with what to do instead, and so does what is no option of turnserver.conf; then the exit code
is 18. docs/migrate-coturn.md has every option.`,
		Example: `  turnd config from-coturn /etc/turnserver.conf --users-out users --secrets-out secrets >traverse.toml
  turnd config from-coturn /etc/turnserver.conf --json`,
	}
	cmd.Flags().StringVar(&usersOut, "users-out", "", "write users, with keys instead of passwords, to this file, 0600 (default: only count them)")
	cmd.Flags().StringVar(&secretsOut, "secrets-out", "", "write secrets to this file, 0600 (default: only count them)")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		text, err := readSome(args[0])
		if err != nil {
			return cli.Errorf("E_LOCAL_IO", "cannot read %s", args[0]).Because(err)
		}
		for out, in := range map[*string]string{&files.Users: usersOut, &files.Secrets: secretsOut} {
			if in != "" {
				*out = in
			}
		}
		c, err := coturn.Convert(text, files)
		if err != nil {
			return cli.Errorf("E_CONFIG", "%s cannot be converted", args[0]).Because(err).Hint("mend that line, or put a # in front of it")
		}
		if err := writeUsers(usersOut, c); err != nil {
			return err
		}
		if err := writeSecrets(secretsOut, c); err != nil {
			return err
		}
		out := converted{cli.Envelope{Schema: "turnd.v1", Kind: "config_from_coturn"}, c.Settings, len(c.Users), len(c.Secrets), c.Unknown(), c.Notes, c.TOML()}
		if err := a.print(out, func() {
			fmt.Fprint(a.stdout, out.TOML)
			for _, n := range c.Notes {
				if n.Kind == coturn.Nothing || n.Kind == coturn.Unknown {
					fmt.Fprintln(a.stderr, n)
				}
			}
			tell := func(count int, what, out, flag, place string) {
				if count > 0 && out == "" {
					fmt.Fprintf(a.stderr, "%d %s are not written: %s FILE, and put it in the place of %s\n", count, what, flag, place)
				}
			}
			tell(len(c.Users), "users", usersOut, "--users-out", files.Users)
			tell(len(c.Secrets), "secrets", secretsOut, "--secrets-out", files.Secrets)
		}); err != nil {
			return err
		}
		if out.Unknown > 0 && a.json {
			return &cli.Error{Exit: cli.ExitPartial} // told already
		}
		if out.Unknown > 0 {
			return cli.Errorf("E_PARTIAL", "%d lines are no option of turnserver.conf", out.Unknown).Hint("they are comments in the output")
		}
		return nil
	}
	return cmd
}

func readSome(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxCoturn))
}

// writeUsers makes a users file with the keys for the realm that was converted.
func writeUsers(path string, c coturn.Conversion) error {
	if path == "" || len(c.Users) == 0 {
		return nil
	}
	d := config.Default()
	realm := d.Turnd.Realm
	for _, s := range c.Settings {
		if s.Key == "turnd.realm" {
			realm = s.Value
		}
	}
	var lines []string
	for _, u := range c.Users {
		lines = append(lines, turndconf.Line(u.Name, realm, turn.DeriveKeys(u.Name, realm, u.Password)))
	}
	return writePrivate(path, lines)
}

func writeSecrets(path string, c coturn.Conversion) error {
	if path == "" || len(c.Secrets) == 0 {
		return nil
	}
	return writePrivate(path, c.Secrets)
}

// writePrivate makes a file, 0600, where there is none.
func writePrivate(path string, lines []string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return cli.Errorf("E_LOCAL_IO", "cannot write %s", path).Because(err).Hint("name a file that is not there yet")
	}
	return nil
}
