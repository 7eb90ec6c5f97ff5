package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"traverse.internal/config"
	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

func (a *app) sendCommand() *cobra.Command {
	var wait string
	var detach bool
	var devices []string
	var rate string
	var opt daemon.SendOptions
	cmd := &cobra.Command{
		Use: "send PATH... PEER...", Short: "send files and folders to a contact, or to several",
		Long: `Send offers the files and folders to the contact as one transfer and stays attached until the state that --wait names.
The last word is a contact, and so are those before it that are contacts' names; a file of such a name is written ./name. An account's devices all get the
offer, unless --to-device, or CONTACT:DEVICE, names some. Each contact gets a transfer of its own.
Detaching (Ctrl-C, or --detach) leaves the transfer to the daemon; on a terminal a second Ctrl-C within two seconds cancels it.
The transfer outlives the daemon and the connection: what has arrived is not sent again. A contact that is not there now gets it
when it comes back.`,
		Example: "  node send report.pdf phone\n  node send photos notes.txt phone --detach\n  node send plan.pdf bob carol\n  node send plan.pdf bob --to-device desk\n  node send FILE phone --wait done --json --timeout 1h",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return exactArgs(2)(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if detach {
				wait = "none"
			}
			if wait != "none" && wait != "accept" && wait != "done" {
				return usage(cmd, fmt.Errorf("--wait is none, accept or done, not %q", wait))
			}
			if rate != "" {
				bytes, err := config.ParseSize(strings.TrimSuffix(rate, "/s"))
				if err != nil {
					return usage(cmd, fmt.Errorf("--limit: %w", err))
				}
				opt.Rate = int64(bytes)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := a.limit(cmd.Context(), 0)
			defer cancel()
			paths, peers, err := a.sorted(ctx, cmd, c, args, devices)
			if err != nil {
				return err
			}
			var list []daemon.Transfer
			for _, peer := range peers {
				t, err := c.SendWith(ctx, opt, peer, paths...)
				if err != nil {
					return begun(err, list)
				}
				list = append(list, t)
			}
			if list, err = a.followAll(ctx, c, list, wait); err != nil {
				return err
			}
			return a.outcomes(list)
		},
	}
	cmd.Flags().StringVar(&wait, "wait", "done", "stay until: none, accept (the other side took it), done")
	cmd.Flags().BoolVar(&detach, "detach", false, "leave the transfer to the daemon at once (--wait none)")
	cmd.Flags().StringVar(&rate, "limit", "", "send no more than so much per second, 10MiB/s for example; at least 16KiB/s")
	cmd.Flags().StringArrayVar(&devices, "to-device", nil, "only to this device of the contact; may be repeated")
	cmd.Flags().DurationVar(&opt.Expires, "expires", 0, "give up when nobody has taken it in this time [720h]")
	cmd.Flags().StringVar(&opt.As, "as", "", "offer the one file or folder under this name")
	cmd.Flags().StringVar(&opt.Note, "note", "", "a line to whoever is asked whether to take it")
	cmd.Flags().StringVar(&opt.Priority, "priority", "normal", "low, normal or high: which of the transfers that wait for others goes first")
	cmd.Flags().BoolVar(&opt.ReadBack, "verify", false, "the receiver reads what it has stored from its disk again, and compares, before the transfer is done")
	cmd.Flags().StringArrayVar(&opt.Exclude, "exclude", nil, "leave out what has this name, or path below the folder named; * and ? match; may be repeated")
	return cmd
}

// sorted tells what is sent from whom it is sent to. Both are looked at before anything is sent.
func (a *app) sorted(ctx context.Context, cmd *cobra.Command, c *daemon.Client, args, devices []string) (paths, peers []string, err error) {
	n := len(args) - 1
	for ; n > 1; n-- {
		word := args[n-1]
		if strings.ContainsRune(word, os.PathSeparator) {
			break
		}
		if _, err := c.Contact(ctx, word); err != nil {
			var e *cli.Error
			if errors.As(err, &e) && e.Code == "E_PEER_UNKNOWN" {
				break
			}
			return nil, nil, err
		}
		if _, err := os.Lstat(word); err == nil {
			return nil, nil, cli.Errorf("E_USAGE", "%q is a contact and a file", word).Hint("the file: ./%s", word).Hint("the contact: run it in another folder")
		}
	}
	paths, peers = args[:n], args[n:]
	for i, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, nil, cli.Errorf("E_LOCAL_IO", "cannot find the current folder").Because(err)
		}
		if p == "" {
			return nil, nil, cli.Errorf("E_LOCAL_IO", "the file cannot be sent").Because(errors.New("its name is empty")).Hint("check the path")
		}
		paths[i] = abs
	}
	if len(devices) > 0 {
		if len(peers) > 1 {
			return nil, nil, cli.Errorf("E_USAGE", "--to-device is for one contact").Hint("CONTACT:DEVICE names a device of each")
		}
		contact := peers[0]
		peers = nil
		for _, device := range devices {
			peers = append(peers, contact+":"+device)
		}
	}
	for i, peer := range peers {
		if slices.Contains(peers[:i], peer) {
			return nil, nil, usage(cmd, fmt.Errorf("%q is named twice", peer))
		}
		if len(peers) > 1 {
			if _, err := c.Contact(ctx, peer); err != nil {
				return nil, nil, err
			}
		}
	}
	return paths, peers, nil
}

// begun is an error after which some transfers go on all the same.
func begun(err error, list []daemon.Transfer) error {
	var e *cli.Error
	if errors.As(err, &e) && len(list) > 0 {
		for _, t := range list {
			e.Hint("that to %s has begun; end it: node transfers cancel %s", t.Peer.Name, t.ID)
		}
	}
	return err
}
