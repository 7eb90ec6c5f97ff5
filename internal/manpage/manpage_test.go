package manpage

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func sample() *cobra.Command {
	root := &cobra.Command{Use: "node", Short: "reach devices", Example: "  node send   # run\n  sudo node send"}
	send := &cobra.Command{
		Use: "send FILE PEER", Short: "send a file", Long: "First.\n\n.SH is no heading here, nor is \\fB bold: 5 µs.",
		Example: "  node send a b", Run: func(*cobra.Command, []string) {},
	}
	send.Flags().StringP("to", "t", "x-y", "where `HOST` is")
	send.Flags().Bool("hidden", false, "not shown")
	_ = send.Flags().MarkHidden("hidden")
	root.PersistentFlags().Bool("json", false, "print JSON")
	root.AddCommand(send)
	return root
}

func TestWrite(t *testing.T) {
	var b strings.Builder
	if err := Write(&b, sample(), "traverse", Section{"FILES", []Item{{"/etc/x", "a file"}, {"", "and a paragraph"}}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"traverse \\- reach devices\n", "  traverse send   # run\n  sudo traverse send\n", ".SS \"traverse send FILE PEER\"\n",
		"\\&.SH is no heading here, nor is \\efB bold: 5 \\[u00B5]s.\n", ".B \\-t, \\-\\-to \\fIHOST\\fR\nWhere HOST is. Default: x\\-y.\n",
		".SH \"FLAGS OF EVERY COMMAND\"\n.TP\n.B \\-\\-json\nPrint JSON.\n", ".TP\n.B /etc/x\na file\n.PP\nand a paragraph\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "hidden") {
		t.Error("a hidden flag is shown")
	}
}

// TestRoff: no text can be read as a request that the formatter does not know.
func TestRoff(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("SKIPPED: groff is not installed (Debian: groff)")
	}
	var b strings.Builder
	if err := Write(&b, sample(), "traverse"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), groff, "-man", "-Tutf8", "-ww", "-z")
	cmd.Stdin = strings.NewReader(b.String())
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("groff: %v\n%s", err, out)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestWriteError(t *testing.T) {
	if err := Write(full{}, sample(), "traverse"); err == nil {
		t.Error("a page that could not be written is no error")
	}
}
