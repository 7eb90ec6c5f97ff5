package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
	"traverse.internal/identity"
)

func (a *app) initCommand() *cobra.Command {
	var name string
	var ifMissing bool
	cmd := &cobra.Command{
		Use: "init", Short: "make a device identity and print its id", Args: noArgs,
		Example: "  node init --name laptop\n  node --home ./A init --name laptop --json",
		RunE: func(*cobra.Command, []string) error {
			h, err := a.place()
			if err != nil {
				return err
			}
			begin := func() (daemon.IdentityObject, error) { return daemon.Init(h, name) }
			if _, err := os.Lstat(filepath.Join(h.Identity, identity.FileName)); ifMissing && err == nil {
				begin = func() (daemon.IdentityObject, error) { return daemon.Identity(h) }
			}
			id, err := begin()
			if err != nil {
				return err
			}
			return a.print(id, func(w io.Writer) {
				fmt.Fprintf(a.talk(), "Device id of %s:\n", id.Name)
				fmt.Fprintln(w, id.DeviceID) // and nothing else: scripts take it from there
				fmt.Fprintf(a.talk(), "Next: give this id to your other devices (%[1]s contact add NAME ID on each), then run: %[1]s up\n", a.name)
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what to call this device (default: the host's name)")
	cmd.Flags().BoolVar(&ifMissing, "if-missing", false, "be content with the identity that is there, if it can be used")
	return cmd
}
