package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/internal/cli"
	"traverse.internal/internal/configcmd"
	"traverse.internal/internal/logging"
)

// globals are the flags of every command.
type globals struct {
	home    string
	config  string
	profile string
	socket  string
	json    bool // objects instead of text
	lines   bool // and a stream of them, where there are several
	quiet   bool
	verbose int
	color   string
	level   string // of the command's own log; the daemon's is a key
	format  string
	yes     bool
	noInput bool
	timeout time.Duration
}

func (a *app) globalFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&a.home, "home", "", "keep everything under this folder (default: the XDG folders)")
	flags.StringVar(&a.profile, "profile", "", "another home of this user, with XDG folders of its own (default: the one without a name)")
	flags.StringVar(&a.config, "config", "", "configuration file (default: traverse.toml in the home)")
	flags.StringVar(&a.socket, "socket", "", "local API socket (default: in the home)")
	flags.VarP(output{a}, "output", "o", "how results are printed: human, json (one object), or lines (a JSON object a line: a list's entries, each step of what goes on)")
	flags.Var(jsonOutput{output{a}}, "json", "the same as -o json; --json=lines is -o lines")
	flags.Lookup("json").NoOptDefVal = "json"
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "nothing on stderr but errors: no progress, no advice")
	flags.CountVarP(&a.verbose, "verbose", "v", "say on stderr what is asked of the daemon; twice: and more of it")
	flags.StringVar(&a.level, "log-level", "", "least important lines of the command's own log on stderr: debug, info, warn or error (default warn; -v: info, -vv: debug)")
	flags.StringVar(&a.format, "log-format", "auto", "form of those lines: auto (text on a terminal, else JSON), text or json")
	flags.StringVar(&a.color, "color", "auto", "colours: auto (on a terminal, unless NO_COLOR is set), always or never")
	flags.BoolVarP(&a.yes, "yes", "y", false, "do what would be asked about on a terminal")
	flags.BoolVar(&a.noInput, "no-input", false, "never ask: say what would have been asked, and end with 2")
	flags.DurationVar(&a.timeout, "timeout", 0, "give up after this long (0: the command's own limit; 2m30s for those that may have to connect to a device first)")
	for name, words := range map[string][]string{
		"output": outputs, "color": {"auto", "always", "never"}, "log-level": {"debug", "info", "warn", "error"}, "log-format": {"auto", "text", "json"},
	} {
		_ = root.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.checkGlobals(); err != nil {
			return usage(cmd, err)
		}
		if a.quiet {
			root.SetErr(io.Discard)
		}
		if h, err := a.place(); err == nil {
			a.log().Debug("home", "config", h.Config, "identity", h.Identity, "state", h.State, "socket", h.Socket)
		}
		return nil
	}
}

// checkGlobals names the first flag of every command that is wrong.
func (a *app) checkGlobals() error {
	for _, f := range []struct {
		name, value string
		words       []string
	}{
		{"--color", a.color, []string{"auto", "always", "never"}},
		{"--log-level", a.level, []string{"", "debug", "info", "warn", "error"}},
		{"--log-format", a.format, []string{"auto", "text", "json"}},
	} {
		if !slices.Contains(f.words, f.value) {
			return fmt.Errorf("%s is %s, not %q", f.name, strings.Join(slices.DeleteFunc(f.words, func(w string) bool { return w == "" }), ", "), f.value)
		}
	}
	switch {
	case a.profile != "" && a.home != "":
		return errors.New("--home and --profile name two homes")
	case a.quiet && a.verbose > 0:
		return errors.New("-q and -v want opposite things")
	case a.yes && a.noInput:
		return errors.New("--yes and --no-input are two answers to the same question")
	}
	return nil
}

var outputs = []string{"human", "json", "lines"}

// output is the flag -o.
type output struct{ a *app }

func (o output) String() string {
	switch {
	case o.a == nil || !o.a.json:
		return "human"
	case o.a.lines:
		return "lines"
	}
	return "json"
}

func (o output) Type() string { return "form" }

func (o output) Set(form string) error {
	if !slices.Contains(outputs, form) {
		return fmt.Errorf("it is %s, not %q", strings.Join(outputs, ", "), form)
	}
	o.a.json, o.a.lines = form != "human", form == "lines"
	return nil
}

// jsonOutput is the flag --json, which is older, and shorter to type.
type jsonOutput struct{ output }

func (jsonOutput) Type() string   { return "bool" } // it takes no word but =lines
func (jsonOutput) String() string { return "false" }

func (o jsonOutput) Set(form string) error {
	switch form {
	case "true":
		form = "json"
	case "false":
		form = "human"
	}
	return o.output.Set(form)
}

// wantsJSON tells of a command line that may not have been read to its end, because it is wrong, whether errors are to be objects.
func wantsJSON(args []string) bool {
	for i, arg := range args {
		switch arg {
		case "--":
			return false
		case "--json", "--json=true", "--json=json", "--json=lines", "-ojson", "-olines", "-o=json", "-o=lines", "--output=json", "--output=lines":
			return true
		case "-o", "--output":
			if i+1 < len(args) && (args[i+1] == "json" || args[i+1] == "lines") {
				return true
			}
		}
	}
	return false
}

// talk is where a command says what is no result.
func (a *app) talk() io.Writer {
	if a.quiet {
		return io.Discard
	}
	return a.stderr
}

// painted is a writer whose colours are seen, or w where they would not be.
func (a *app) painted(w io.Writer) io.Writer {
	on := a.color == "always"
	if a.color == "auto" || a.color == "" {
		on = a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb" && isTerminal(w) // no-color.org: present and not empty
	}
	if on {
		return cli.Painted{Writer: w}
	}
	return w
}

// log is the command's own, on stderr.
func (a *app) log() *slog.Logger {
	level := a.level
	if level == "" {
		switch {
		case a.quiet:
			level = "error"
		case a.verbose == 0:
			level = "warn"
		case a.verbose == 1:
			level = "info"
		default:
			level = "debug"
		}
	}
	return logging.New(a.stderr, level, a.format)
}

// given are the flags of keys that the command line has. -v and -q say something of the daemon's log, unless that is said itself.
func (a *app) given(cmd *cobra.Command) map[string]string {
	given := configcmd.Given(cmd, "node", ownFlags)
	if _, said := given["log-level"]; !said {
		switch {
		case a.verbose > 0:
			given["log-level"] = "debug"
		case a.quiet:
			given["log-level"] = "error"
		}
	}
	return given
}

// wouldAsk is the end of a command that was told not to ask.
func wouldAsk(question string) *cli.Error {
	return cli.Errorf("E_USAGE", "this has to be asked, and --no-input forbids it").Because(errors.New(question))
}

// confirm asks whether to do what cannot be undone. It asks on a terminal only: a script has said what it wants.
func (a *app) confirm(ctx context.Context, question string) error {
	switch tty, ok := a.stdin.(*os.File); {
	case a.yes:
		return nil
	case a.noInput:
		return wouldAsk(question).Hint("--yes")
	case !ok || !isTerminal(tty) || !isTerminal(a.stderr):
		return nil
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	answers := make(chan string, 1)
	go readAnswer(a.stdin, answers)
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
		return ctx.Err()
	case answer := <-answers:
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer == "y" || answer == "yes" {
			return nil
		}
	}
	return cli.Errorf("E_CANCELLED", "nothing was done").Hint("answer y, or give --yes")
}

// readAnswer reads one line. Nothing ends it but that line: it goes with the program.
func readAnswer(from io.Reader, to chan<- string) {
	line, _ := bufio.NewReader(from).ReadString('\n')
	to <- line
}
