package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/secretfile"
)

// minPassphrase is in bytes: scrypt slows guessing down a million times, not more.
const minPassphrase = 8

func (a *app) idExportCommand() *cobra.Command {
	var file, passphraseFile string
	cmd := &cobra.Command{
		Use: "export", Short: "write the device's key, and the account's where it is here, encrypted by a passphrase", Args: noArgs,
		Long: `Export writes an age file (age-encryption.org) to standard output or --out. It holds the identity: whoever has it and the passphrase is this device.
It is a copy for the day that this device is lost, not a way to have it twice: two nodes with one identity push each other out.`,
		Example: "  node id export --out laptop.age\n  node id export --passphrase-file pass > laptop.age",
		RunE: func(*cobra.Command, []string) error {
			h, err := a.place()
			if err != nil {
				return err
			}
			pass, err := a.passphrase(passphraseFile, true)
			if err != nil {
				return err
			}
			raw, err := daemon.ExportIdentity(h, pass)
			if err != nil {
				return err
			}
			if file == "" {
				_, err = a.stdout.Write(raw)
			} else {
				err = writePrivate(file, raw)
			}
			if err != nil {
				return cli.Errorf("E_LOCAL_IO", "cannot write the export").Because(err).Hint("name another file: --out FILE")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "out", "", "file to write, which must not exist (default: standard output)")
	cmd.Flags().StringVar(&passphraseFile, "passphrase-file", "", "file with the passphrase (default: asked for at the terminal)")
	return cmd
}

func (a *app) idImportCommand() *cobra.Command {
	var passphraseFile, name string
	cmd := &cobra.Command{
		Use: "import FILE", Short: "make this home the device that an export holds", Args: exactArgs(1),
		Long:    "Import refuses a home that has an identity. FILE - is standard input.",
		Example: "  node id import laptop.age --name laptop",
		RunE: func(_ *cobra.Command, args []string) error {
			h, err := a.place()
			if err != nil {
				return err
			}
			from := a.stdin
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return cli.Errorf("E_LOCAL_IO", "cannot read the export").Because(err).Hint("check the path")
				}
				defer f.Close()
				from = f
			}
			pass, err := a.passphrase(passphraseFile, false)
			if err != nil {
				return err
			}
			id, err := daemon.ImportIdentity(h, from, pass, name)
			if err != nil {
				return err
			}
			return a.print(id, func(w io.Writer) { fmt.Fprintln(w, id.DeviceID) })
		},
	}
	cmd.Flags().StringVar(&passphraseFile, "passphrase-file", "", "file with the passphrase (default: asked for at the terminal)")
	cmd.Flags().StringVar(&name, "name", "", "what to call this device (default: the host's name)")
	return cmd
}

// passphrase reads one from a private file or from the terminal, twice where a mistake would lock somebody out.
func (a *app) passphrase(file string, fresh bool) (string, error) {
	short := func(pass string) (string, error) {
		if fresh && len(pass) < minPassphrase {
			return "", cli.Errorf("E_USAGE", "the passphrase is too short").Because(fmt.Errorf("it has %d bytes, %d are the least", len(pass), minPassphrase))
		}
		return pass, nil
	}
	if file != "" {
		pass, err := secretfile.Line(file)
		if err != nil {
			return "", err
		}
		return short(pass)
	}
	if a.noInput {
		return "", wouldAsk("the passphrase").Hint("--passphrase-file FILE")
	}
	tty, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(tty.Fd())) {
		return "", cli.Errorf("E_USAGE", "there is no terminal to ask for the passphrase").Hint("--passphrase-file FILE")
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(a.stderr, prompt)
		pass, err := term.ReadPassword(int(tty.Fd()))
		fmt.Fprintln(a.stderr)
		if err != nil {
			return "", cli.Errorf("E_LOCAL_IO", "cannot read the passphrase").Because(err)
		}
		return string(pass), nil
	}
	pass, err := ask("Passphrase: ")
	if err != nil || !fresh {
		return pass, err
	}
	again, err := ask("Again: ")
	if err == nil && again != pass {
		err = cli.Errorf("E_USAGE", "the two passphrases differ").Hint("run it again")
	}
	if err != nil {
		return "", err
	}
	return short(pass)
}

// writePrivate makes a file that only its owner reads, and replaces none.
func writePrivate(path string, raw []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	return errors.Join(err, f.Sync(), f.Close())
}
