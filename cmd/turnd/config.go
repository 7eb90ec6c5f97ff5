package main

import (
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"traverse.internal/config"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/configcmd"
	"traverse.internal/internal/relayadmin"
	"traverse.internal/turn"
)

func (a *app) configCommand() *cobra.Command {
	return configcmd.New(configcmd.Program{
		Name: "turnd",
		Path: a.configPath,
		Load: func(cmd *cobra.Command) (config.Config, string, error) {
			file, err := a.configFile()
			if err != nil {
				return config.Config{}, "", err
			}
			conf, err := a.load(cmd)
			return conf, file, err
		},
		Check: func(conf config.Config) (warnings []string, err error) {
			var made *credentials
			t, err := build(conf, &made)
			if err == nil {
				err = t.Check()
			}
			return complaints(t, made), err
		},
		Print: func(object any, human func(io.Writer)) error {
			return a.print(object, func() { human(a.stdout) })
		},
		Usage: func(args int) func(*cobra.Command, []string) error { return exactArgs(args) },
		More:  []*cobra.Command{a.fromCoturnCommand()},
		Env:   a.env,

		Reloads: func(key string) bool {
			return relayadmin.Reloads(key) || key == "log.level" || key == "log.format" || key == "metrics.listen"
		},
	})
}

// complaints are what is not wrong, and not good either.
func complaints(t turn.Config, made *credentials) []string {
	switch {
	case made != nil:
		return []string{"nothing is configured: it would serve loopback alone, for a user of its own making"}
	case len(t.Users)+len(t.Keys)+len(t.Secrets) == 0:
		return []string{"there are no users, so nobody gets a relay: --users-file FILE"}
	case len(t.Users) > 0:
		return []string{"the users file has passwords in plain text: turnd user add stores keys"}
	}
	return nil
}

// configPath is where the file is, or would be; "" means that there is no home.
func (a *app) configPath() (string, error) {
	switch xdg, home := a.getenv("XDG_CONFIG_HOME"), a.getenv("HOME"); {
	case a.config != "":
		return a.config, nil
	case a.home != "":
		return filepath.Join(a.home, "traverse.toml"), nil
	case filepath.IsAbs(xdg):
		return filepath.Join(xdg, "traverse", "traverse.toml"), nil
	case home != "":
		return filepath.Join(home, ".config", "traverse", "traverse.toml"), nil
	}
	return "", nil
}

// configFile is the file to read: the one that --config names, which must be there, else the home's, which may be absent.
func (a *app) configFile() (string, error) {
	path, err := a.configPath()
	if err != nil || path == "" || a.config != "" {
		return path, err
	}
	switch _, err := os.Stat(path); {
	case err == nil:
		return path, nil
	case os.IsNotExist(err):
		return "", nil
	default:
		return "", cli.Errorf("E_CONFIG", "cannot look at the configuration").Because(err)
	}
}
