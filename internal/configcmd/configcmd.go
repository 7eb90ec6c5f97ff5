// Package configcmd is the command `config` of both programs: check, show, init, set, schema and path; and `credentials`, for their service files.
package configcmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"traverse.internal/config"
	"traverse.internal/internal/cli"
)

// Program is what the two programs do each in their own way.
type Program struct {
	Name  string                                              // "node" or "turnd"
	Path  func() (string, error)                              // where the file is, or would be; "" means nowhere
	Load  func(*cobra.Command) (config.Config, string, error) // and the file that was read, "" for none
	Check func(config.Config) (warnings []string, err error)  // everything short of opening a socket
	Print func(object any, human func(w io.Writer)) error     // one object with --json
	Usage func(args int) func(*cobra.Command, []string) error // refuses another number of arguments
	More  []*cobra.Command                                    // further commands below config
	Skip  map[string]bool                                     // flags that the program has for itself
	Env   []string                                            // as os.Environ has it

	Reloads func(key string) bool // whether a reload applies a key
}

// AddFlags gives a command a flag for each key of a program. Their values stay text: package config parses them like the file's.
func AddFlags(cmd *cobra.Command, program string, skip map[string]bool) {
	for _, k := range config.Keys(program) {
		if !skip[k.Flag] {
			AddFlag(cmd, k)
		}
	}
}

// AddFlag makes a command's flag of one key, unless it has it.
func AddFlag(cmd *cobra.Command, k config.Key) {
	if cmd.Flag(k.Flag) != nil {
		return
	}
	if k.IsBool() {
		cmd.Flags().Bool(k.Flag, false, k.Help)
		return
	}
	help := k.Help
	if k.Default != "" {
		help += " (default " + k.Default + ")"
	}
	cmd.Flags().String(k.Flag, "", help)
}

// Given are the flags of keys that the command line has, as config.Load takes them.
func Given(cmd *cobra.Command, program string, skip map[string]bool) map[string]string {
	given := map[string]string{}
	for _, k := range config.Keys(program) {
		if f := cmd.Flag(k.Flag); f != nil && f.Changed && !skip[k.Flag] {
			given[k.Flag] = f.Value.String()
		}
	}
	return given
}

// New makes the command.
func New(p Program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "check, show, begin and change the configuration", Args: p.Usage(0),
		Example: fmt.Sprintf("  %[1]s config init\n  %[1]s config check\n  %[1]s config show --origin\n  %[1]s config set log.level debug", p.Name),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.check(), p.show(), p.init(), p.set(), p.schema(), p.path())
	cmd.AddCommand(p.More...)
	return cmd
}

// keyFlags gives a command the flags of the keys, out of its help: there are many, and `run` and `up` explain them.
func (p Program) keyFlags(cmd *cobra.Command) {
	AddFlags(cmd, p.Name, p.Skip)
	for _, k := range config.Keys(p.Name) {
		if f := cmd.Flags().Lookup(k.Flag); f != nil && !p.Skip[k.Flag] {
			f.Hidden = true
		}
	}
}

func (p Program) envelope(kind string) cli.Envelope {
	return cli.Envelope{Schema: p.Name + ".v1", Kind: kind}
}

// Checked is what check prints.
type Checked struct {
	cli.Envelope
	OK       bool       `json:"ok"`
	File     string     `json:"file"` // "" means none
	Warnings []string   `json:"warnings"`
	Error    *cli.Error `json:"error,omitempty"`
}

func (p Program) check() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "say whether the configuration would be taken, and what is wrong with it", Args: p.Usage(0),
		Long: "It reads file, environment and flags, and the files that they name: users, secrets, certificates. No socket is opened and nothing that\n" +
			"runs is asked. Exit code 0: it would be taken. 3: it would not, and the place of the first mistake is told.",
		Example: fmt.Sprintf("  %[1]s config check\n  %[1]s config check --config new.toml && mv new.toml /etc/traverse/traverse.toml", p.Name),
	}
	p.keyFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		conf, file, err := p.Load(cmd)
		out := Checked{Envelope: p.envelope("config_check"), File: file, Warnings: []string{}}
		if err == nil {
			for _, name := range conf.UnknownEnv {
				out.Warnings = append(out.Warnings, "the environment variable "+name+" is no key's")
			}
			var warnings []string
			warnings, err = p.Check(conf)
			out.Warnings = append(out.Warnings, warnings...)
		}
		var e *cli.Error
		switch {
		case errors.As(err, &e):
		case err != nil:
			e = cli.Errorf("E_CONFIG", "the configuration is wrong").Because(err)
		}
		out.OK, out.Error = e == nil, e
		told := false
		if perr := p.Print(out, func(w io.Writer) {
			for _, text := range out.Warnings {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", text)
			}
			switch {
			case e != nil: // Report tells
				told = true
			case file == "":
				fmt.Fprintln(w, "ok: there is no file; environment, flags and defaults are right")
			default:
				fmt.Fprintf(w, "ok: %s\n", file)
			}
		}); perr != nil {
			return perr
		}
		switch {
		case e == nil:
			return nil
		case told:
			return e
		}
		return &cli.Error{Exit: e.Exit} // told already, in the object
	}
	return cmd
}

// Shown is what show prints.
type Shown struct {
	cli.Envelope
	File     string           `json:"file"`
	Settings []config.Setting `json:"settings"`
}

func (p Program) show() *cobra.Command {
	var origin bool
	cmd := &cobra.Command{
		Use: "show [KEY | SECTION]...", Short: "print the configuration that is in force, as a file",
		Long:    "With --origin every value tells where it comes from: default, line of the file, variable or flag. Secrets are not shown.",
		Example: fmt.Sprintf("  %[1]s config show\n  %[1]s config show --origin turnd metrics.listen\n  %[1]s config show --json", p.Name),
	}
	p.keyFlags(cmd)
	cmd.Flags().BoolVar(&origin, "origin", false, "tell where each value comes from")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		conf, file, err := p.Load(cmd)
		if err != nil {
			return err
		}
		list := conf.Settings(p.Name)
		if len(names) > 0 {
			all := list
			list = nil
			for _, name := range names {
				some := config.Within(all, name)
				if len(some) == 0 && name != "relay" {
					e := cli.Errorf("E_USAGE", "there is no key or section %q", name)
					if near := config.Nearest(name); near != "" {
						e.Hint("did you mean %q?", near)
					}
					return e.Hint("%s config show", p.Name)
				}
				list = append(list, some...)
			}
		}
		out := Shown{Envelope: p.envelope("config"), File: file, Settings: list}
		return p.Print(out, func(w io.Writer) {
			var note func(config.Setting) string
			if origin {
				note = func(s config.Setting) string {
					if s.Where == "" {
						return s.Layer
					}
					return s.Where
				}
			}
			fmt.Fprint(w, config.WriteTOML(list, note))
		})
	}
	return cmd
}

// Place is what path and init print.
type Place struct {
	cli.Envelope
	Path   string `json:"path"`
	Exists bool   `json:"exists"`
}

func (p Program) where() (string, error) {
	path, err := p.Path()
	if err == nil && path == "" {
		err = cli.Errorf("E_CONFIG", "there is no place for a configuration").
			Because(errors.New("neither XDG_CONFIG_HOME nor HOME is set")).Hint("--config FILE")
	}
	return path, err
}

func (p Program) path() *cobra.Command {
	return &cobra.Command{
		Use: "path", Short: "print where the configuration is, or would be", Args: p.Usage(0),
		Example: fmt.Sprintf("  $EDITOR \"$(%s config path)\"", p.Name),
		RunE: func(*cobra.Command, []string) error {
			path, err := p.where()
			if err != nil {
				return err
			}
			_, err = os.Stat(path)
			return p.Print(Place{p.envelope("config_path"), path, err == nil}, func(w io.Writer) { fmt.Fprintln(w, path) })
		},
	}
}

func (p Program) init() *cobra.Command {
	var stdout bool
	cmd := &cobra.Command{
		Use: "init", Short: "write a configuration with every key as a comment", Args: p.Usage(0),
		Long:    "It says nothing until a # is taken away. A file that is there stays as it is.",
		Example: fmt.Sprintf("  %[1]s config init\n  %[1]s config init --stdout | less", p.Name),
	}
	cmd.Flags().BoolVar(&stdout, "stdout", false, "print it instead of writing the file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if stdout {
			_, err := fmt.Fprint(cmd.OutOrStdout(), config.Template(p.Name))
			return err
		}
		path, err := p.where()
		if err != nil {
			return err
		}
		if err := write(path, config.Template(p.Name)); err != nil {
			e := cli.Errorf("E_LOCAL_IO", "cannot write the configuration").Because(err)
			if errors.Is(err, os.ErrExist) {
				e = cli.Errorf("E_CONFIG", "there is a configuration already").Because(err).Hint("%s config show", p.Name)
			}
			return e.Hint("another place: --config FILE, or --stdout")
		}
		return p.Print(Place{p.envelope("config_path"), path, true}, func(w io.Writer) { fmt.Fprintf(w, "wrote %s\n", path) })
	}
	return cmd
}

// write makes the file and its folder, and never replaces one.
func write(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
