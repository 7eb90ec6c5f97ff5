package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/config"
	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/configcmd"
	"traverse.internal/internal/manpage"
)

// app is one run of the program: what every command has in common.
type app struct {
	name           string // what the program is called here: node, or traverse where that is taken
	env            []string
	stdin          io.Reader
	stdout, stderr io.Writer

	globals
}

// run executes one command line and returns its exit code. It ends early when ctx does.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	return (&app{name: ownName, env: env, stdin: os.Stdin, stdout: stdout, stderr: stderr}).run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil {
		err = interrupted(ctx, err) // the command did not end by itself, whatever it made of that
	}
	// A wrong command line may not have been read as far as --json.
	var e *cli.Error
	if a.name != ownName && errors.As(err, &e) {
		err = e.Renamed(ownName, a.name, manpage.Names(root))
	}
	return cli.Report(a.stdout, a.painted(a.stderr), err, a.json || wantsJSON(args))
}

// interrupted gives an error the exit code of the signal that ended the command.
func interrupted(ctx context.Context, err error) error {
	var e *cli.Error
	told := errors.As(err, &e) && (e.Message == "" || e.Code == "E_INTERRUPTED")
	if !told {
		e = cli.Errorf("E_INTERRUPTED", "interrupted").Because(err)
	}
	e.Exit = cli.ExitInterrupted
	var s stopped
	if errors.As(context.Cause(ctx), &s) {
		e.Exit = s.exitCode()
	}
	return e
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "node",
		Short: "reach your other devices by their id, and send them files",
		Example: `  node demo                                  # the whole line on this machine, nothing to set up
  node init --name laptop                    # make a device identity, print its id
  node up                                    # run the daemon
  node contact add phone DEVICE_ID           # on both sides
  node send report.pdf phone --wait done`,
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              noArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, err) })
	a.globalFlags(root)
	root.AddCommand(
		a.demoCommand(), a.initCommand(), a.idCommand(), a.upCommand(), a.statusCommand(),
		a.contactCommand(), a.deviceCommand(), a.inviteCommand(), a.joinCommand(), a.sendCommand(), a.getCommand(), a.inboxCommand(), a.transfersCommand(), a.configCommand(), a.manCommand(),
		a.pipeCommand(), a.listenCommand(), a.forwardCommand(), a.exposeCommand(), a.proxyCommand(), a.sshCommand(),
		a.connsCommand(), a.channelsCommand(), a.kickCommand(), a.pingCommand(), a.benchCommand(), a.whyCommand(), a.netcheckCommand(), a.doctorCommand(), a.watchCommand(), a.apiCommand(), a.reloadCommand(), a.drainCommand(), a.stopCommand(), a.versionCommand(), configcmd.Credentials("node", a.stderr),
	)
	root.SetHelpTemplate(helpTemplate)
	root.SetHelpCommand(helpCommand(root))
	a.completeContacts(root)
	a.rename(root)
	return root
}

// usage marks an error as the command line's.
func usage(cmd *cobra.Command, err error) error {
	return cli.Errorf("E_USAGE", "%v", err).Hint("%s -h", cmd.CommandPath())
}

func noArgs(cmd *cobra.Command, args []string) error { return exactArgs(0)(cmd, args) }

// exactArgs is cobra.ExactArgs with our error.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		if n == 0 && cmd.HasSubCommands() {
			e := cli.Errorf("E_USAGE", "unknown command %q for %q", args[0], cmd.CommandPath())
			cmd.SuggestionsMinimumDistance = 2 // letters; cobra sets it only where it reports by itself
			if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
				e.Hint("did you mean %q?", s[0])
			}
			return e.Hint("%s -h", cmd.CommandPath())
		}
		return cli.Errorf("E_USAGE", "%s takes %d arguments, got %d", cmd.CommandPath(), n, len(args)).Hint("%s -h", cmd.CommandPath())
	}
}

// rangeArgs is cobra.RangeArgs with our error.
func rangeArgs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		return cli.Errorf("E_USAGE", "%s takes %d to %d arguments, got %d", cmd.CommandPath(), least, most, len(args)).Hint("%s -h", cmd.CommandPath())
	}
}

// minArgs is cobra.MinimumNArgs with our error.
func minArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= n {
			return nil
		}
		return cli.Errorf("E_USAGE", "%s takes %d arguments or more, got %d", cmd.CommandPath(), n, len(args)).Hint("%s -h", cmd.CommandPath())
	}
}

// getenv is os.Getenv on the run's environment.
func (a *app) getenv(name string) string {
	for i := len(a.env) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(a.env[i], "="); ok && k == name {
			return v
		}
	}
	return ""
}

// place is the home the command line means.
func (a *app) place() (daemon.Home, error) {
	h, err := daemon.DefaultHome(a.getenv, a.profile)
	if a.home != "" {
		h, err = daemon.HomeAt(a.home), nil
	}
	if err != nil {
		return h, err
	}
	h = a.configured(h)
	if a.socket != "" {
		h.Socket = a.socket
	}
	return h, nil
}

// configured puts into the home what the file and the environment say about it, so that every command finds the key and the daemon where `up`
// has them. A configuration that is wrong is for `up` to tell.
func (a *app) configured(h daemon.Home) daemon.Home {
	file, err := a.configFile(h)
	if err != nil {
		return h
	}
	conf, err := config.Load(file, a.env, nil)
	if err != nil {
		return h
	}
	if conf.Identity.Dir != "" {
		h.Identity = conf.Identity.Dir
	}
	if conf.API.Socket != "" {
		h.Socket = conf.API.Socket
	}
	return h
}

// client talks to the home's daemon.
func (a *app) client() (*daemon.Client, error) {
	h, err := a.place()
	if err != nil {
		return nil, err
	}
	c := daemon.NewClient(h.Socket)
	c.Trace(a.log())
	return c, nil
}

// limit bounds a command by --timeout, or by its own default.
func (a *app) limit(ctx context.Context, fallback time.Duration) (context.Context, context.CancelFunc) {
	d := a.timeout
	if d == 0 {
		d = fallback
	}
	if d == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// print writes the object as JSON, or as text for people. Where lines are wanted a list is its entries, one a line.
func (a *app) print(object any, human func(w io.Writer)) error {
	if !a.json {
		human(a.painted(a.stdout))
		return nil
	}
	out := json.NewEncoder(a.stdout)
	entries, ok := entriesOf(object)
	if !a.lines || !ok {
		return out.Encode(object)
	}
	for i := range entries.Len() {
		if err := out.Encode(entries.Index(i).Interface()); err != nil {
			return err
		}
	}
	return nil
}

// entriesOf are what a list has, of an object that is nothing but a list.
func entriesOf(object any) (entries reflect.Value, ok bool) {
	v := reflect.ValueOf(object)
	if v.Kind() != reflect.Struct {
		return v, false
	}
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.Type() == reflect.TypeFor[cli.Envelope]():
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct && !ok:
			entries, ok = f, true
		default:
			return v, false
		}
	}
	return entries, ok
}
