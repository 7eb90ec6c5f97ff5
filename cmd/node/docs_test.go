package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"traverse.internal/config"
	"traverse.internal/internal/cli"
)

var update = flag.Bool("update", false, "rewrite the made parts of docs/cli.md")

const cliPage = "../../docs/cli.md"

// page is docs/cli.md: prose, and parts between <!-- name --> and <!-- /name --> that are made from the program.
type page struct {
	t    *testing.T
	text string
	seen map[string]bool
}

func openPage(t *testing.T) *page {
	t.Helper()
	text, err := os.ReadFile(cliPage)
	if err != nil {
		t.Fatal(err)
	}
	return &page{t, string(text), map[string]bool{}}
}

// part compares a made part with what it should be, or replaces it under -update.
func (p *page) part(name, want string) {
	p.t.Helper()
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	before, rest, ok := strings.Cut(p.text, begin)
	have, after, closed := strings.Cut(rest, end)
	p.seen[name] = true
	switch {
	case !ok || !closed:
		p.t.Errorf("docs/cli.md has no part %q: add %s%s", name, begin, end)
	case have == want:
	case *update:
		p.text = before + begin + want + end + after
	default:
		p.t.Errorf("docs/cli.md, part %q: the program says\n%s\nthe page says\n%s\nrun go test ./cmd/node -run 'Docs|Golden' -update and read the difference", name, want, have)
	}
}

// close writes the page under -update. Parts of a kind that nobody made are errors.
func (p *page) close(kind string) {
	p.t.Helper()
	for line := range strings.Lines(p.text) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "<!-- "+kind)
		if name = strings.TrimSuffix(name, " -->"); ok && !p.seen[kind+name] {
			p.t.Errorf("docs/cli.md: part %q is nobody's", kind+name)
		}
	}
	if !*update || p.t.Failed() {
		return
	}
	if err := os.WriteFile(cliPage, []byte(p.text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// TestDocsFlags: each command has its section and its flags in the page.
func TestDocsFlags(t *testing.T) {
	p := openPage(t)
	root := (&app{stdout: io.Discard, stderr: io.Discard}).root()
	p.part("flags node", flagTable(root.PersistentFlags()))
	for _, cmd := range leaves(root) {
		path := cmd.CommandPath()
		if title := "### `" + cmd.UseLine() + "`\n"; !strings.Contains(p.text, strings.Replace(title, " [flags]", "", 1)) {
			t.Errorf("docs/cli.md has no section titled %s", title)
		}
		if cmd.Short == "" || path != "node help" && cmd.Example == "" {
			t.Errorf("%s has no description or no example", path)
		}
		switch {
		case path == "node up":
			p.part("flags node up", keyTable())
		case cmd.HasAvailableLocalFlags():
			p.part("flags "+path, flagTable(cmd.LocalNonPersistentFlags()))
		}
	}
	p.close("flags ")
}

// leaves are the commands that do something, in the order of the help.
func leaves(cmd *cobra.Command) []*cobra.Command {
	if !cmd.HasSubCommands() {
		return []*cobra.Command{cmd}
	}
	var all []*cobra.Command
	if cmd.Annotations["arguments"] != "" {
		all = append(all, cmd)
	}
	for _, sub := range cmd.Commands() {
		if sub.Hidden {
			continue
		}
		all = append(all, leaves(sub)...)
	}
	return all
}

func flagTable(flags *pflag.FlagSet) string {
	var b strings.Builder
	b.WriteString("| flag | value | default | |\n|---|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		standard := f.DefValue
		if standard == "" || value == "" {
			standard = "-"
		}
		if value == "" {
			value = "-"
		}
		short := ""
		if f.Shorthand != "" {
			short = "`-" + f.Shorthand + "`, "
		}
		fmt.Fprintf(&b, "| %s`--%s` | %s | %s | %s |\n", short, f.Name, value, standard, usage)
	})
	return b.String()
}

// keyTable has the keys of the node; those of the relay inside it stand in docs/config.md alone.
func keyTable() string {
	var b strings.Builder
	b.WriteString("| flag | key | default | |\n|---|---|---|---|\n")
	for _, k := range config.Keys("node") {
		if strings.HasPrefix(k.Name, "turnd.") && k.Name != "turnd.enabled" {
			continue
		}
		standard := "-"
		if k.Default != "" {
			standard = "`" + k.Default + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s |\n", k.Flag, k.Name, standard, k.Help)
	}
	return b.String()
}

// TestDocsExitCodes: the page has every code, and `node help` has them too.
func TestDocsExitCodes(t *testing.T) {
	p := openPage(t)
	var b strings.Builder
	b.WriteString("| exit code | error code | |\n|---|---|---|\n| 0 | - | success |\n")
	for _, c := range cli.Codes {
		fmt.Fprintf(&b, "| %d | `%s` | %s |\n", c.Exit, c.Name, c.Meaning)
		var out strings.Builder
		if code := run(context.Background(), []string{"help", c.Name}, nil, &out, io.Discard); code != 0 || !strings.Contains(out.String(), c.Meaning) {
			t.Errorf("help %s: exit code %d, %q", c.Name, code, out.String())
		}
	}
	p.part("exit codes", b.String())
	p.close("exit codes")
}

// TestDocsMan: the manual page in docs/man is what the commands say.
func TestDocsMan(t *testing.T) {
	const path = "../../docs/man/traverse.1"
	var out strings.Builder
	if code := run(t.Context(), []string{"man"}, nil, &out, io.Discard); code != 0 {
		t.Fatal(code)
	}
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != out.String() {
		t.Errorf("%s is not what the commands say (%v); run go test ./cmd/node -run Docs -update", path, err)
	}
}

// TestInstalledName: called traverse, it calls itself that, in its help and in its advice.
func TestInstalledName(t *testing.T) {
	var out, errOut strings.Builder
	a := &app{name: calledAs("/usr/bin/traverse"), stdout: &out, stderr: &errOut}
	if code := a.run(t.Context(), []string{"help"}); code != 0 || strings.Contains(out.String(), "  node ") || !strings.Contains(out.String(), "\n  traverse COMMAND") {
		t.Errorf("exit code %d:\n%s", code, out.String())
	}
	a = &app{name: calledAs("/usr/bin/traverse"), stdout: &out, stderr: &errOut}
	if code := a.run(t.Context(), []string{"--home", t.TempDir(), "status"}); code == 0 || !strings.Contains(errOut.String(), "start it: traverse up\n") {
		t.Errorf("exit code %d:\n%s", code, errOut.String())
	}
	if got := calledAs("/tmp/go-build/exe/node"); got != ownName {
		t.Errorf("called %q", got)
	}
}
