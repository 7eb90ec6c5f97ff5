// Package manpage writes a program's manual page from its commands.
//
// One page a program: its commands with their flags, in the order of the help, and what goes for all of them. The form
// is man(7)'s roff, of which five macros serve.
package manpage

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"traverse.internal/internal/cli"
)

// A Section is text of the page beside the commands.
type Section struct {
	Title string // as in man(1): FILES, EXIT STATUS
	Items []Item
}

// An Item is a term and what it means. Without a term it is a paragraph.
type Item struct {
	Term, Text string
}

// ExitStatus is the section of the codes that both programs have.
func ExitStatus() Section {
	s := Section{Title: "EXIT STATUS", Items: []Item{{Term: "0", Text: "Success."}}}
	for _, c := range cli.Codes {
		s.Items = append(s.Items, Item{Term: fmt.Sprintf("%d %s", c.Exit, c.Name), Text: sentence(c.Meaning)})
	}
	return s
}

// Write prints the page of the program whose root command is given, which is installed as name. Where the commands'
// own examples say what the program is called in the repository, they say name instead. It returns the writer's error.
func Write(out io.Writer, root *cobra.Command, name string, sections ...Section) error {
	p := &page{out: bufio.NewWriter(out), from: root.Name(), name: name, names: Names(root)}
	p.raw(".\\\" Made from the commands by \"%s man\"; changes go there.\n", name)
	p.raw(".TH %s 1 \"\" Traverse \"User Commands\"\n", strings.ToUpper(name))
	p.head("NAME")
	p.raw("%s \\- %s\n", escape(name), escape(root.Short))
	p.head("SYNOPSIS")
	p.raw(".B %s\n.I COMMAND\n.RI [ flags ]\n", escape(name))
	if root.HasExample() {
		p.head("EXAMPLES")
		p.verbatim(root.Example)
	}
	p.head("COMMANDS")
	p.commands(root)
	if root.HasAvailablePersistentFlags() {
		p.head("FLAGS OF EVERY COMMAND")
		p.flags(root.PersistentFlags())
	}
	for _, s := range sections {
		p.head(s.Title)
		for _, item := range s.Items {
			if item.Term == "" {
				p.raw(".PP\n%s\n", escape(item.Text))
				continue
			}
			p.raw(".TP\n.B %s\n%s\n", escape(item.Term), escape(item.Text))
		}
	}
	return p.out.Flush()
}

// Names are the first words that a program understands.
func Names(root *cobra.Command) []string {
	names := []string{"help", "completion"}
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	return names
}

// A page keeps its writer's first error for Flush.
type page struct {
	out        *bufio.Writer
	from, name string   // the program's name in its own texts, and installed
	names      []string // of its commands
}

func (p *page) raw(format string, args ...any) { fmt.Fprintf(p.out, format, args...) }

func (p *page) renamed(text string) string { return cli.Renamed(text, p.from, p.name, p.names) }

func (p *page) head(title string) { p.raw(".SH \"%s\"\n", escape(title)) }

func (p *page) verbatim(text string) {
	p.raw(".nf\n")
	for line := range strings.Lines(p.renamed(text)) {
		p.raw("%s\n", escape(strings.TrimRight(line, "\n")))
	}
	p.raw(".fi\n")
}

// commands prints the commands below cmd that do something, each with its flags.
func (p *page) commands(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if !c.IsAvailableCommand() && c.Name() != "help" {
			continue
		}
		if c.HasAvailableSubCommands() {
			p.commands(c)
			continue
		}
		use := strings.TrimSuffix(c.UseLine(), " [flags]")
		p.raw(".SS \"%s\"\n", escape(p.renamed(use)))
		p.raw("%s\n", escape(sentence(c.Short)))
		if c.Long != "" {
			for para := range strings.SplitSeq(c.Long, "\n\n") {
				p.raw(".PP\n%s\n", escape(p.renamed(strings.TrimSpace(para))))
			}
		}
		if c.HasExample() {
			p.raw(".PP\n")
			p.verbatim(c.Example)
		}
		p.flags(c.LocalNonPersistentFlags())
	}
}

func (p *page) flags(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		term := "--" + f.Name
		if f.Shorthand != "" {
			term = "-" + f.Shorthand + ", " + term
		}
		p.raw(".TP\n.B %s", escape(term))
		if value != "" {
			p.raw(" \\fI%s\\fR", escape(value))
		}
		p.raw("\n%s", escape(sentence(usage)))
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
			p.raw(" Default: %s.", escape(f.DefValue))
		}
		p.raw("\n")
	})
}

// sentence ends text with a stop and begins it with a capital.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// escape keeps roff from reading text as its own: a backslash, a hyphen that is to stay one, and a dot or quote at the
// beginning of a line. What is not ASCII is written by number, whatever encoding the formatter expects.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	var b strings.Builder
	for _, r := range strings.Join(lines, "\n") {
		if r < 0x80 {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, `\[u%04X]`, r)
	}
	return b.String()
}
