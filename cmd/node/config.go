package main

import (
	"github.com/spf13/cobra"

	"traverse.internal/config"
	"traverse.internal/daemon"
	"traverse.internal/internal/configcmd"
)

func (a *app) configCommand() *cobra.Command {
	return configcmd.New(configcmd.Program{
		Name: "node",
		Path: func() (string, error) {
			h, err := a.place()
			if err != nil || a.config != "" {
				return a.config, err
			}
			return h.Config, nil
		},
		Load: func(cmd *cobra.Command) (config.Config, string, error) {
			h, err := a.place()
			if err != nil {
				return config.Config{}, "", err
			}
			file, err := a.configFile(h)
			if err != nil {
				return config.Config{}, "", err
			}
			conf, err := config.Load(file, a.env, configcmd.Given(cmd, "node", ownFlags))
			if err != nil {
				err = wrongConfig(cmd, err)
			}
			return conf, file, err
		},
		Check: func(conf config.Config) ([]string, error) {
			h, err := a.place()
			if err != nil {
				return nil, err
			}
			cfg, err := daemon.FromConfig(h, conf)
			if err == nil && cfg.Turnd != nil {
				err = cfg.Turnd.Check()
			}
			return nil, err
		},
		Print: a.print,
		Usage: func(args int) func(*cobra.Command, []string) error { return exactArgs(args) },
		Skip:  ownFlags,
		Env:   a.env,

		Reloads: daemon.Reloads,
	})
}
