package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// joinTime bounds `join`: on a large DHT the inviter looks into the invitation's slot twice a minute.
const joinTime = 3 * time.Minute

// maxTicket bounds what is read from stdin.
const maxTicket = 4096

func (a *app) inviteCommand() *cobra.Command {
	var req daemon.InviteRequest
	var code bool
	cmd := &cobra.Command{
		Use: "invite", Short: "make a ticket with which somebody becomes a contact", Args: noArgs,
		Long: `Invite prints a ticket. Whoever runs "node join" with it, once and before it expires, becomes a contact of this device, and this one
becomes theirs. Give it to nobody else: the ticket is all that is asked for.
With --allow the contact gets something at once: forward:SERVICE lets it reach a service that is exposed to some (node expose --to), forward:SERVICE=HOST:PORT exposes one to it alone, and for good;
files:SIZE takes its files up to that size unasked; listen lets it have this device listen on loopback ports.`,
		Example: "  node invite\n  node invite --name bob --expires 1h\n  node invite --allow forward:ssh=127.0.0.1:22 --allow files:1GiB",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.ticket(cmd, req, code) },
	}
	cmd.Flags().StringVar(&req.Name, "name", "", "what the contact is to be called here (default: what it calls itself)")
	cmd.Flags().StringArrayVar(&req.Allow, "allow", nil, "what the contact gets: forward:SERVICE[=HOST:PORT], files:SIZE or listen; may be repeated")
	a.ticketFlags(cmd, &req, &code)
	return cmd
}

func (a *app) ticketFlags(cmd *cobra.Command, req *daemon.InviteRequest, code *bool) {
	cmd.Flags().DurationVar(&req.Expires, "expires", 10*time.Minute, "how long the ticket lasts, 24h at most")
	cmd.Flags().BoolVar(code, "qr", false, "print the ticket as a QR code too (on a terminal it always is)")
}

// ticket asks for one and prints it.
func (a *app) ticket(cmd *cobra.Command, req daemon.InviteRequest, code bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	ctx, cancel := a.limit(cmd.Context(), quick)
	defer cancel()
	t, err := c.Invite(ctx, req)
	if err != nil {
		return err
	}
	return a.print(t, func(w io.Writer) {
		if code || isTerminal(a.stdout) {
			printQR(w, t.Ticket)
		}
		fmt.Fprintln(w, t.Ticket)
		what := "becomes a contact"
		if t.For == "device" {
			what = "becomes a device of this account"
		}
		fmt.Fprintf(a.talk(), "Whoever runs this until %s %s, once: node join TICKET\n", t.Expires.Local().Format("15:04:05"), what)
	})
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (a *app) joinCommand() *cobra.Command {
	var req daemon.JoinRequest
	cmd := &cobra.Command{
		Use: "join [TICKET]", Short: "answer an invitation: become a contact, or a device of the account", Args: rangeArgs(0, 1),
		Long: `Join uses a ticket of "node invite" or "node device link". Without an argument, or with -, it is read from standard input, where no other
user of this machine sees it. The node has to be up on both sides.`,
		Example: "  node join TRV1AGZ…\n  node join --name alice < ticket",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] != "-" {
				req.Ticket = args[0]
			} else {
				if in, ok := a.stdin.(*os.File); ok && isTerminal(in) && a.noInput {
					return wouldAsk("the ticket").Hint("node join TICKET, or node join < FILE")
				}
				if isTerminal(a.stderr) {
					fmt.Fprint(a.stderr, "Ticket: ")
				}
				raw, err := io.ReadAll(io.LimitReader(a.stdin, maxTicket))
				if err != nil {
					return cli.Errorf("E_LOCAL_IO", "cannot read the ticket").Because(err)
				}
				req.Ticket = strings.TrimSpace(string(raw))
			}
			if req.Ticket == "" {
				return usage(cmd, errors.New("there is no ticket"))
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := a.limit(cmd.Context(), joinTime)
			defer cancel()
			o, err := c.Join(ctx, req)
			if err != nil {
				return err
			}
			return a.print(o, func(w io.Writer) {
				if o.Contact != nil {
					fmt.Fprintf(w, "%s is %s\n", o.Contact.Name, o.Contact.Device)
					return
				}
				printDevices(w, o.Devices)
				fmt.Fprintf(w, "%d contacts of the account are known here now\n", o.Learned)
			})
		},
	}
	cmd.Flags().StringVar(&req.Name, "name", "", "what the inviter is to be called here (default: what it calls itself)")
	return cmd
}
