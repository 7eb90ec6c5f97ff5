package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// maxCommands is how many commands `listen --exec` runs at once; further channels wait for the other side's patience.
const maxCommands = 16

func (a *app) pipeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pipe PEER [NAME]", Short: "connect stdin and stdout with a program at a contact", Args: rangeArgs(1, 2),
		Long: `Pipe opens a channel to the program that listens under the name ("default" without one) at the contact: node listen NAME.
Each direction ends by itself: when stdin ends the other side reads an end, and may still answer.`,
		Example: "  tar c photos | node pipe phone photos      # and there: node listen photos | tar x\n  node pipe phone < question > answer",
		RunE: func(cmd *cobra.Command, args []string) error {
			req := daemon.PipeRequest{Peer: args[0], Name: "default"}
			if len(args) == 2 {
				req.Name = args[1]
			}
			return a.pipe(cmd.Context(), req)
		},
	}
}

func (a *app) proxyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "proxy PEER [SERVICE]", Short: "connect stdin and stdout with a service that a contact exposes", Args: rangeArgs(1, 2),
		Long:    "Proxy is for ssh's ProxyCommand and the like. SERVICE is the name of an exposed service, ssh without one, or HOST:PORT where the contact exposes that.",
		Example: "  ssh -o ProxyCommand='node proxy %h ssh' bob\n  node proxy bob web < request",
		RunE: func(cmd *cobra.Command, args []string) error {
			req := daemon.PipeRequest{Peer: args[0], Service: "ssh"}
			if len(args) == 2 {
				req.Service = args[1]
			}
			return a.pipe(cmd.Context(), req)
		},
	}
}

// pipe opens a channel and carries it on stdin and stdout.
func (a *app) pipe(ctx context.Context, req daemon.PipeRequest) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	s, err := opened(ctx, a.timeout, func(ctx context.Context) (*daemon.Stream, error) { return c.Pipe(ctx, req) })
	if err != nil {
		return err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	return shuttle(s, a.stdin, a.stdout)
}

// opened calls, bounded by a time for the opening alone.
func opened(ctx context.Context, limit time.Duration, call func(context.Context) (*daemon.Stream, error)) (*daemon.Stream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if limit > 0 {
		late := time.AfterFunc(limit, func() {
			cancel(cli.Errorf("E_TIMEOUT", "nobody was there in the time given").Hint("give it longer: --timeout 1m"))
		})
		defer late.Stop()
	}
	s, err := call(ctx)
	var timeout *cli.Error
	if err != nil && errors.As(context.Cause(ctx), &timeout) {
		return nil, timeout
	}
	return s, err
}

// aStream is a *daemon.Stream as shuttle needs it.
type aStream interface {
	io.ReadWriter
	CloseWrite() error
	Abort(cause error)
	Gone() error
}

// shuttle copies in to the stream and the stream to out until both have ended. The reader of in is left behind when the stream ends
// first: a read of stdin cannot be interrupted.
func shuttle(s aStream, in io.Reader, out io.Writer) error {
	sent, said := make(chan error, 1), make(chan struct{})
	go func() { sent <- sendAll(s, in, said) }()
	_, err := io.Copy(out, s)
	if err == nil {
		err = s.Gone()
	}
	if err != nil {
		return daemon.StreamError(err)
	}
	// A node that works closes the connection behind our end alone. It may have obeyed that before CloseWrite has returned here.
	select {
	case <-said:
		if err := <-sent; err != nil {
			return cli.Errorf("E_LOCAL_IO", "cannot read what is to be sent").Because(err)
		}
		return nil
	default:
		return cli.Errorf("E_NO_DAEMON", "the node ended, and the connection with it").Hint("its log says why")
	}
}

// sendAll copies in to the stream, and its end; said is closed in front of that.
func sendAll(s aStream, in io.Reader, said chan<- struct{}) error {
	_, err := io.Copy(s, in)
	if err != nil {
		s.Abort(errors.New("the program's input failed"))
		close(said)
		return err
	}
	close(said)
	return s.CloseWrite()
}

func (a *app) listenCommand() *cobra.Command {
	var from, command string
	cmd := &cobra.Command{
		Use: "listen NAME", Short: "wait for a contact's pipe, and connect it with stdin and stdout", Args: exactArgs(1),
		Long: `Listen waits for one channel that a contact opens with: node pipe DEVICE NAME. With --exec it goes on, and runs a command for each channel,
at most 16 at once, whose stdin and stdout are the channel. The command runs as this user: whoever may open the pipe decides what it reads.`,
		Example: "  node listen photos --from laptop | tar x\n  node listen date --exec date",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, req := cmd.Context(), daemon.ListenRequest{Name: args[0], From: from}
			var said sync.Once
			req.Listening = func() {
				said.Do(func() { fmt.Fprintf(a.talk(), "listening as %s\n", args[0]) })
			}
			if command != "" {
				return a.listenExec(ctx, c, req, command)
			}
			s, err := opened(ctx, a.timeout, func(ctx context.Context) (*daemon.Stream, error) { return c.Listen(ctx, req) })
			if err != nil {
				return err
			}
			defer s.Close()
			defer context.AfterFunc(ctx, func() { s.Close() })()
			return shuttle(s, a.stdin, a.stdout)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "only from this contact (default: any)")
	cmd.Flags().StringVar(&command, "exec", "", "run this with the shell for each channel; TRAVERSE_PEER and TRAVERSE_DEVICE say whose it is")
	return cmd
}

// listenExec serves channels until it is interrupted.
func (a *app) listenExec(ctx context.Context, c *daemon.Client, req daemon.ListenRequest, command string) error {
	var running sync.WaitGroup
	defer running.Wait()
	places := make(chan struct{}, maxCommands)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		s, err := c.Listen(ctx, req)
		if err != nil {
			return err
		}
		running.Go(func() {
			defer func() { <-places }()
			a.execFor(ctx, s, command)
		})
	}
}

// execFor runs a command for a channel. A command that fails aborts it: its output is not complete.
func (a *app) execFor(ctx context.Context, s *daemon.Stream, command string) {
	defer s.Close()
	shell := []string{"/bin/sh", "-c", command}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd", "/C", command}
	}
	cmd := exec.CommandContext(ctx, shell[0], shell[1:]...)
	cmd.Env = append(append([]string{}, a.env...), "TRAVERSE_PEER="+s.Peer.Name, "TRAVERSE_DEVICE="+s.Peer.Device)
	cmd.Stderr = a.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		s.Abort(err)
		return
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.Abort(errors.New("the command did not start"))
		fmt.Fprintf(a.stderr, "the command did not start: %v\n", err)
		return
	}
	fed := make(chan struct{})
	go feed(in, s, fed)
	_, copied := io.Copy(s, out)
	if err = cmd.Wait(); err == nil {
		err = copied
	}
	if err != nil {
		s.Abort(fmt.Errorf("the command failed: %w", err))
	} else {
		_ = s.CloseWrite()
		s.Close()
	}
	<-fed
}

// feed gives a command what comes, and an end only where it was one.
func feed(in io.WriteCloser, s *daemon.Stream, done chan<- struct{}) {
	defer close(done)
	_, _ = io.Copy(in, s)
	in.Close()
}

func (a *app) sshCommand() *cobra.Command {
	var user, service string
	cmd := &cobra.Command{
		Use: "ssh PEER [-- ARGS...]", Short: "run ssh to a contact that exposes it", Args: minArgs(1),
		Long: `Ssh runs the system's ssh with this program as ProxyCommand. The host's key is noted under the contact's device id, so that it stays right when the
name changes. What stands behind -- is ssh's.`,
		Example: "  node ssh bob                      # there: node expose ssh 22\n  node ssh bob --user root -- uptime",
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.place()
			if err != nil {
				return err
			}
			contact, err := daemon.ShowContact(cmd.Context(), h, args[0])
			if err != nil {
				return err
			}
			line, err := a.sshLine(h, contact.ContactObject, user, service, args[1:])
			if err != nil {
				return err
			}
			ssh := exec.CommandContext(cmd.Context(), line[0], line[1:]...)
			ssh.Stdin, ssh.Stdout, ssh.Stderr, ssh.Env = a.stdin, a.stdout, a.stderr, a.env
			err = ssh.Run()
			var exit *exec.ExitError
			switch {
			case errors.As(err, &exit) && exit.ExitCode() >= 0:
				return &cli.Error{Exit: exit.ExitCode()} // ssh has said why
			case err != nil:
				return cli.Errorf("E_LOCAL_IO", "cannot run ssh").Because(err)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&user, "user", "l", "", "whom to be there (default: as ssh decides)")
	cmd.Flags().StringVar(&service, "service", "ssh", "the exposed service to connect to")
	return cmd
}

// sshLine is the command line of ssh.
func (a *app) sshLine(h daemon.Home, contact daemon.ContactObject, user, service string, rest []string) ([]string, error) {
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		return nil, cli.Errorf("E_LOCAL_IO", "there is no ssh on this machine").Because(err).Hint("install openssh-client")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, cli.Errorf("E_LOCAL_IO", "cannot find this program's own file").Because(err)
	}
	proxy := []string{self, "--socket", h.Socket, "proxy", contact.Device, service}
	for i, word := range proxy {
		proxy[i] = "'" + strings.NewReplacer("'", `'\''`, "%", "%%").Replace(word) + "'" // for the shell, and ssh's own % before it
	}
	line := []string{ssh, "-o", "ProxyCommand=" + strings.Join(proxy, " "), "-o", "HostKeyAlias=traverse-" + strings.ToLower(contact.Device)} // ssh notes it so
	if user != "" {
		line = append(line, "-l", user)
	}
	return append(append(line, contact.Name), rest...), nil
}
