package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// rotateTime is how long `id rotate` waits for contacts that are to hear of the new key.
const rotateTime = 30 * time.Second

func (a *app) idRotateCommand() *cobra.Command {
	var req daemon.RotateRequest
	cmd := &cobra.Command{
		Use: "rotate", Short: "give this device a new key, which is a new id", Args: noArgs,
		Long: `An id is a public key, so a new key is a new id, and only who is told of it by the old one knows whose it is.
On the device that signs for its account, with the node up: rotate makes the next key, puts it on the account's list beside the old one, and tells the contacts and the account's other devices. Once
all have heard, the next key takes the old one's place, name included, the old one is revoked, and the node begins anew with the new one, in the same process. Where some cannot be reached it stops
before that, names them, and ends with 18: run it again later. --yes does not wait for them: those lose this device, unless another device of the account meets them.
On a device without an account, or one that another device signs for, with the node stopped: the key is replaced at once, the account is left, and --yes is needed, since nobody is told: contacts have
to add the new id by hand, or the device is linked again. The old key is gone in every case: "node id export" keeps a copy.`,
		Example: "  node id rotate\n  node id rotate --cancel\n  node stop && node id rotate --yes                 # without an account",
		RunE: func(cmd *cobra.Command, _ []string) error {
			req.Anyway = a.yes
			o, err := a.rotate(cmd, req)
			if err != nil {
				return err
			}
			err = a.print(o, func(w io.Writer) { printRotation(w, o, a.advice(cmd)) })
			if err == nil && o.State == daemon.RotationWaiting {
				err = &cli.Error{Exit: cli.ExitPartial} // who is missing was told
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&req.Cancel, "cancel", false, "drop the next key instead, and keep the one there is")
	cmd.Flags().DurationVar(&req.Wait, "wait", rotateTime, "how long contacts are waited for that are to hear of it")
	return cmd
}

func (a *app) rotate(cmd *cobra.Command, req daemon.RotateRequest) (o daemon.RotationObject, err error) {
	h, err := a.place()
	if err != nil {
		return o, err
	}
	if _, err := daemon.Identity(h); err != nil {
		return o, err
	}
	err = a.ask(cmd, req.Wait+quick, func(ctx context.Context, c *daemon.Client) error {
		o, err = c.Rotate(ctx, req)
		return err
	})
	var e *cli.Error
	if !errors.As(err, &e) || e.Code != "E_NO_DAEMON" || req.Cancel || signsHere(h) {
		return o, err
	}
	if tty, ok := a.stdin.(*os.File); !a.yes && (!ok || !isTerminal(tty)) {
		return o, cli.Errorf("E_USAGE", "a new key is a new device id, of which nobody is told").Because(errors.New("there is no account of this device's own, and there is no terminal to ask whether that is meant")).
			Hint("say so: node id rotate --yes")
	}
	if err := a.confirm(cmd.Context(), "A new key is a new device id, of which nobody is told; the old one is gone. Go on?"); err != nil {
		return o, err
	}
	return daemon.RotateIdentity(h)
}

// signsHere tells whether the account's key is in the home: then the node has to run, so that its contacts can be told.
func signsHere(h daemon.Home) bool {
	list, err := daemon.ListDevices(h)
	if err != nil {
		return false
	}
	for _, d := range list.Devices {
		if d.Self && d.Signer {
			return true
		}
	}
	return false
}

func printRotation(w io.Writer, o daemon.RotationObject, say func(string) string) {
	names := make([]string, len(o.Waiting))
	for i, p := range o.Waiting {
		names[i] = p.Name
	}
	missing := strings.Join(names, ", ")
	switch {
	case o.State == daemon.RotationCancelled:
		fmt.Fprintf(w, "%s stays; the next key is gone\n", o.From)
	case o.State == daemon.RotationWaiting:
		fmt.Fprintf(w, "the next key is %s\n%d have heard of it; not yet: %s\n", o.To, o.Told, missing)
		fmt.Fprintf(w, "The old key is in use still. Run it again when they are there: %s; without them: %s\n", say("node id rotate"), say("node id rotate --yes"))
	case len(names) > 0:
		fmt.Fprintf(w, "%s\nNot told, so that they have to add it by hand: %s\n", o.To, missing)
	default:
		fmt.Fprintln(w, o.To)
	}
}

func (a *app) idRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke", Short: "take this device off its account", Args: noArgs,
		Long: `Revoke asks the device that signs for the account to sign a list without this one; it has to be reachable. This device is a party of its own then, with the contacts it knows, and the account's
contacts refuse its id: "node id rotate --yes" gives it one that they have never seen. Where the signing device cannot be reached revoke says what to run there; --yes leaves all the same, and is listed until then.
On the device that signs, --yes is needed: it signs a last list without itself and gives up the account's key, and with that list, after seven days, the account ends.`,
		Example: "  node id revoke",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd, joinTime, func(ctx context.Context, c *daemon.Client) error {
				o, err := c.Leave(ctx, daemon.LeaveRequest{Anyway: a.yes})
				if err != nil {
					return err
				}
				return a.print(o, func(w io.Writer) { printLeft(w, o, a.advice(cmd)) })
			})
		},
	}
}

func printLeft(w io.Writer, o daemon.LeaveObject, say func(string) string) {
	fmt.Fprintf(w, "%s is no longer of the account %s\n", o.Device, o.Account)
	switch {
	case o.Listed:
		fmt.Fprintf(w, "The others list it still. Run on the device that signs: %s\n", say("node device revoke "+o.Device))
	case o.Ends != nil:
		fmt.Fprintf(w, "%d have the account's last list, which ends %s; nobody renews it\n", o.Told, o.Ends.Local().Format(time.DateTime))
	}
}
