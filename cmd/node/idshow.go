package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

func (a *app) idCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "id", Short: "this device's id and keys", Args: noArgs,
		Long:    `The id is the device's public key: others call it by that, and it changes only with the key. Alone, id prints it, as id show does.`,
		RunE:    func(*cobra.Command, []string) error { return a.showID(idView{}) },
		Example: "  node id\n  node id --json",
	}
	cmd.AddCommand(a.idShowCommand(), a.idListCommand(), a.idExportCommand(), a.idImportCommand(), a.idRotateCommand(), a.idRevokeCommand())
	return cmd
}

// idView says how an id is shown, besides as text.
type idView struct {
	grouped, qr bool
	png         string // file to write
}

func (a *app) idShowCommand() *cobra.Command {
	var v idView
	cmd := &cobra.Command{
		Use: "show", Short: "print this device's id", Args: noArgs,
		Long: `Show prints the device's id. For reading it aloud, --grouped has it in four lines of two groups: each line has check digits of its own, so that a slip is found in the line where it was made.
The QR code holds the id without hyphens, which "node contact add" takes as well.`,
		Example: "  node id show\n  node id show --grouped\n  node id show --qr\n  node id show --png laptop.png",
		RunE:    func(*cobra.Command, []string) error { return a.showID(v) },
	}
	cmd.Flags().BoolVar(&v.grouped, "grouped", false, "in four lines, each with check digits of its own")
	cmd.Flags().BoolVar(&v.qr, "qr", false, "print it as a QR code too")
	cmd.Flags().StringVar(&v.png, "png", "", "write it as a QR code to this PNG file, which must not exist")
	return cmd
}

func (a *app) showID(v idView) error {
	h, err := a.place()
	if err != nil {
		return err
	}
	id, err := daemon.Identity(h)
	if err != nil {
		return err
	}
	code := strings.ReplaceAll(id.DeviceID, "-", "") // letters and digits only are half the size
	if v.png != "" {
		if err := writePNG(v.png, code); err != nil {
			return err
		}
	}
	return a.print(id, func(w io.Writer) {
		if v.qr {
			printQR(w, code)
		}
		if !v.grouped {
			fmt.Fprintln(w, id.DeviceID)
			return
		}
		groups := strings.Split(id.DeviceID, "-")
		for i := 0; i+1 < len(groups); i += 2 {
			fmt.Fprintf(w, "%s %s\n", groups[i], groups[i+1])
		}
	})
}

func (a *app) idListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "the keys and certificates of this home, and where each is kept", Args: noArgs,
		Long: `List shows the device's key and its certificate, the account that the device belongs to with the list that says so and when that ends, the account's key where it is
here, and a key that is to take the device's place (id rotate). It reads the home, with or without a running daemon, and prints no secret.`,
		Example: "  node id list\n  node id list --json",
		RunE: func(*cobra.Command, []string) error {
			h, err := a.place()
			if err != nil {
				return err
			}
			list, err := daemon.ListIdentities(h)
			if err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) { printIdentities(w, list) })
		},
	}
}

func printIdentities(w io.Writer, list daemon.IdentityList) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, k := range list.Keys {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", k.What, k.ID, orDash(k.File))
		if c := k.Certificate; c != nil {
			fmt.Fprintf(tw, "  certificate\tsha256 %s\t%s\n", c.SHA256, validity(c.From, c.Until))
		}
		if l := k.List; l != nil {
			fmt.Fprintf(tw, "  list\tversion %d, %d devices\t%s\n", l.Version, l.Devices, validity(l.Signed, l.Expires))
		}
		if k.Note != "" {
			fmt.Fprintf(tw, "  note\t%s\n", cli.OneLine(k.Note))
		}
	}
	tw.Flush()
}

// forEver is from when on an end is none: RFC 5280 §4.1.2.5 writes it as the last second of 9999.
var forEver = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func validity(from, until time.Time) string {
	since := "since " + from.Local().Format(time.DateOnly)
	if until.After(forEver) {
		return since + ", without an end"
	}
	word := "until"
	if !time.Now().Before(until) {
		word = "EXPIRED"
	}
	return fmt.Sprintf("%s, %s %s", since, word, until.Local().Format(time.DateTime))
}
