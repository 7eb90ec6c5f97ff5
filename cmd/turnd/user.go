package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/config"
	"traverse.internal/core/stun"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/configcmd"
	"traverse.internal/internal/secretfile"
	"traverse.internal/internal/turndconf"
	"traverse.internal/turn"
)

// fileCommand makes a command that works on files of the configuration, which the flags may name.
func (a *app) fileCommand(use, short string, args int, keys []string, do func(config.Config, []string) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: exactArgs(args)}
	for _, k := range config.Keys("turnd") {
		for _, name := range keys {
			if k.Name == name {
				configcmd.AddFlag(cmd, k)
			}
		}
	}
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		conf, err := a.load(cmd)
		if err != nil {
			return err
		}
		return do(conf, given)
	}
	return cmd
}

// userChange is what add and rm print.
type userChange struct {
	cli.Envelope
	User     string `json:"user"`
	Password string `json:"password,omitempty"` // only a generated one
}

func (a *app) userCommand() *cobra.Command {
	keys := []string{"turnd.users_file", "turnd.realm"}
	usersFile := func(conf config.Config) (string, error) {
		if conf.Turnd.UsersFile == "" {
			return "", cli.Errorf("E_USAGE", "which users file?").Hint("--users-file FILE, or turnd.users_file in the configuration")
		}
		return conf.Turnd.UsersFile, nil
	}
	cannot := func(path string, err error) error {
		return cli.Errorf("E_CONFIG", "cannot use the users file %s", path).Because(err)
	}
	var passFile string
	var generate bool
	add := a.fileCommand("add NAME", "add a user, or change the password", 1, keys, func(conf config.Config, args []string) error {
		path, err := usersFile(conf)
		if err != nil {
			return err
		}
		name := args[0]
		if name == "" || len(name) > stun.MaxUsername || strings.ContainsAny(name, ":\r\n") || strings.HasPrefix(name, "#") {
			return cli.Errorf("E_USAGE", "%q is no user name", name).Hint("without colon and line end, not beginning with #")
		}
		out := userChange{Envelope: cli.Envelope{Schema: "turnd.v1", Kind: "user_added"}, User: name}
		password := ""
		switch {
		case generate:
			password = rand.Text()
			out.Password = password
		case passFile != "":
			password, err = secretfile.Line(passFile)
		default:
			password, err = a.askPassword()
		}
		if err != nil {
			return err
		}
		realm := conf.Turnd.Realm
		if _, err := turndconf.Edit(path, name, turndconf.Line(name, realm, turn.DeriveKeys(name, realm, password))); err != nil {
			return cannot(path, err)
		}
		return a.print(out, func() {
			fmt.Fprintf(a.stderr, "added %s to %s; a running server needs turnd reload\n", name, path)
			if generate {
				fmt.Fprintln(a.stdout, password) // and nothing else: scripts take it from there
			}
		})
	})
	add.Flags().StringVar(&passFile, "pass-file", "", "file with the password in one line, 0600 (default: a line of standard input)")
	add.Flags().BoolVar(&generate, "generate", false, "make a password, and print it and nothing else")
	ls := a.fileCommand("ls", "list the users", 0, keys, func(conf config.Config, _ []string) error {
		path, err := usersFile(conf)
		if err != nil {
			return err
		}
		users, err := turndconf.ReadUsers(path)
		if err != nil {
			return cannot(path, err)
		}
		list := struct {
			cli.Envelope
			Users []string `json:"users"`
			Plain int      `json:"plain"` // of them, with the password in plain text
		}{cli.Envelope{Schema: "turnd.v1", Kind: "users"}, append([]string{}, users.Names...), len(users.Passwords)}
		return a.print(list, func() {
			for _, name := range users.Names {
				if users.Passwords[name] != "" {
					name += "  (password in plain text)"
				}
				fmt.Fprintln(a.stdout, name)
			}
		})
	})
	rm := a.fileCommand("rm NAME", "remove a user", 1, keys, func(conf config.Config, args []string) error {
		path, err := usersFile(conf)
		if err != nil {
			return err
		}
		switch was, err := turndconf.Edit(path, args[0], ""); {
		case err != nil:
			return cannot(path, err)
		case !was:
			return cli.Errorf("E_USAGE", "there is no user %q in %s", args[0], path).Hint("turnd user ls")
		}
		return a.print(userChange{Envelope: cli.Envelope{Schema: "turnd.v1", Kind: "user_removed"}, User: args[0]}, func() {
			fmt.Fprintf(a.stderr, "removed %s; a running server needs turnd reload\n", args[0])
		})
	})
	cmd := &cobra.Command{
		Use: "user", Short: "add, list and remove the users of a users file", Args: noArgs,
		Long: "The file gets the keys of RFC 8489 that are made of name, realm and password, not the password. They let in whoever has them: keep the file 0600.",
		Example: `  turnd user add alice --users-file users.txt --generate >password.txt
  turnd user add bob --users-file users.txt < password.txt
  turnd user rm alice --users-file users.txt && turnd reload`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(add, ls, rm)
	return cmd
}

// askPassword reads a line of standard input.
func (a *app) askPassword() (string, error) {
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		if err == nil {
			err = errors.New("the line is empty")
		}
		return "", cli.Errorf("E_USAGE", "no password on standard input").Because(err).Hint("--pass-file FILE or --generate")
	}
	return line, nil
}

// print writes the object, or the lines for people.
func (a *app) print(object any, lines func()) error {
	if a.json {
		return json.NewEncoder(a.stdout).Encode(object)
	}
	lines()
	return nil
}

// minted is what cred mint prints.
type minted struct {
	cli.Envelope
	Username string        `json:"username"`
	Password string        `json:"password"`
	TTL      time.Duration `json:"ttl_ns"`
	Expires  time.Time     `json:"expires"`
}

func (a *app) credCommand() *cobra.Command {
	const longest = 30 * 24 * time.Hour // what is not revocable shall not last
	var user string
	var ttl time.Duration
	mint := a.fileCommand("mint", "make credentials that end by themselves", 0, []string{"turnd.secret_file"}, func(conf config.Config, _ []string) error {
		if conf.Turnd.Secret == "" {
			return cli.Errorf("E_USAGE", "which secret?").Hint("--auth-secret-file FILE, or turnd.secret_file in the configuration")
		}
		if ttl < time.Second || ttl > longest {
			return cli.Errorf("E_USAGE", "--ttl %v is not within 1s and %v", ttl, longest)
		}
		secrets, err := turndconf.ReadSecrets(conf.Turnd.Secret)
		if err != nil {
			return cli.Errorf("E_CONFIG", "cannot use the secrets in %s", conf.Turnd.Secret).Because(err)
		}
		expires := time.Now().Add(ttl).Truncate(time.Second).UTC()
		name, password := turn.Mint(secrets[0], user, expires)
		return a.print(minted{cli.Envelope{Schema: "turnd.v1", Kind: "credentials"}, name, password, ttl, expires}, func() {
			fmt.Fprintf(a.stdout, "username %s\npassword %s\n", name, password)
		})
	})
	mint.Flags().StringVar(&user, "user", "", "who it is for: quotas count by it")
	mint.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long new allocations can be made with it")
	cmd := &cobra.Command{
		Use: "cred", Short: "time-limited credentials for clients that cannot keep a secret", Args: noArgs,
		Example: "  turnd cred mint --user alice --ttl 1h --auth-secret-file secret.txt",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(mint)
	return cmd
}
