package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"traverse.internal/daemon"
)

// connectTo measures a cold connection from the laptop by id: presence, sealed offers, ICE, TLS, session, channel, one byte and back.
func connectTo(peer string, want route) func(context.Context, *lab, *Stage) error {
	return func(ctx context.Context, l *lab, s *Stage) error {
		ctx, cancel := context.WithTimeout(ctx, stageTimeout)
		defer cancel()
		open, echo, path, err := l.devices["laptop"].Ping(ctx, peer)
		s.Path = path
		if err != nil {
			return err
		}
		s.MS = ms(open + echo)
		s.Detail = fmt.Sprintf("round trip on the channel %.2f ms", ms(echo))
		return want.check(path)
	}
}

// secondChannel opens channels on the live session; the median is what counts.
func secondChannel(ctx context.Context, l *lab, s *Stage) error {
	const rounds = 101
	ctx, cancel := context.WithTimeout(ctx, stageTimeout)
	defer cancel()
	took := make([]time.Duration, rounds)
	for i := range took {
		open, _, path, err := l.devices["laptop"].Ping(ctx, "phone")
		if err != nil {
			return err
		}
		took[i], s.Path = open, path
	}
	slices.Sort(took)
	s.MS = ms(took[rounds/2])
	s.Detail = fmt.Sprintf("median of %d; slowest %.2f ms", rounds, ms(took[rounds-1]))
	return nil
}

// send moves a file of the route's size.
func send(from, to string, want route) func(context.Context, *lab, *Stage) error {
	return func(ctx context.Context, l *lab, s *Stage) error {
		return move(ctx, l, s, from, to, want, l.opt.RouteSize)
	}
}

// sendBig moves a file of the direct size.
func sendBig(from, to string, want route) func(context.Context, *lab, *Stage) error {
	return func(ctx context.Context, l *lab, s *Stage) error {
		return move(ctx, l, s, from, to, want, l.opt.DirectSize)
	}
}

// move sends a file, compares what arrived, and checks the way it went. The time is from the request to the
// sender's knowing that the receiver has verified and stored it.
func move(ctx context.Context, l *lab, s *Stage, from, to string, want route, size int64) error {
	ctx, cancel := context.WithTimeout(ctx, stageTimeout)
	defer cancel()
	source, err := l.makeFile(fmt.Sprintf("%s-to-%s-%s-%s.bin", from, to, want.kind, want.transport), size)
	if err != nil {
		return err
	}
	began := time.Now()
	sender, receiver := l.devices[from], l.devices[to]
	t, err := sender.Send(to, source)
	if err != nil {
		return err
	}
	if t, err = sender.Await(ctx, t.ID, ended); err != nil {
		return err
	}
	s.MS, s.Path = ms(time.Since(began)), t.Path
	if t.State != daemon.StateDone {
		return fmt.Errorf("the transfer ended %s: %w", t.State, t.Error)
	}
	return arrived(ctx, s, receiver, t, source, want)
}

func ended(t daemon.Transfer) bool { return t.State.Ended() }

// arrived compares the stored file with its source.
func arrived(ctx context.Context, s *Stage, receiver *device, t daemon.Transfer, source string, want route) error {
	got, err := received(ctx, receiver, t.ID)
	if err != nil {
		return err
	}
	if err := equal(source, got.File); err != nil {
		return err
	}
	s.Bytes = t.Bytes
	if t.Bytes != t.Size {
		return fmt.Errorf("%d bytes of %d are reported", t.Bytes, t.Size)
	}
	return want.check(t.Path)
}

// declineOffer has the phone ask, and its user say no.
func declineOffer(ctx context.Context, l *lab, s *Stage) error {
	ctx, cancel := context.WithTimeout(ctx, stageTimeout)
	defer cancel()
	if err := l.again("phone", func(c *daemon.Config) { c.Accept = daemon.AcceptAsk }); err != nil {
		return err
	}
	t, err := l.offer(ctx, "declined.bin")
	if err != nil {
		return err
	}
	if _, err := l.devices["phone"].Decline(t.ID, "not now"); err != nil {
		return err
	}
	t, err = l.devices["laptop"].Await(ctx, t.ID, ended)
	if err != nil {
		return err
	}
	s.Path = t.Path
	if t.State != daemon.StateDeclined || t.Error == nil || t.Error.Code != "E_DECLINED" {
		return fmt.Errorf("the sender sees %s, %v", t.State, t.Error)
	}
	s.Detail = t.Error.Error()
	return l.nothingStored("declined.bin")
}

// cancelTransfer has the sender change its mind while the offer waits.
func cancelTransfer(ctx context.Context, l *lab, s *Stage) error {
	ctx, cancel := context.WithTimeout(ctx, stageTimeout)
	defer cancel()
	t, err := l.offer(ctx, "cancelled.bin")
	if err != nil {
		return err
	}
	if t, err = l.devices["laptop"].Cancel(t.ID); err != nil {
		return err
	}
	got, err := received(ctx, l.devices["phone"], t.ID)
	if err != nil {
		return err
	}
	s.Path = t.Path
	if t.State != daemon.StateCancelled || got.State != daemon.StateCancelled {
		return fmt.Errorf("the sender sees %s, the receiver %s", t.State, got.State)
	}
	s.Detail = "both sides say cancelled"
	if err := l.nothingStored("cancelled.bin"); err != nil {
		return err
	}
	return l.again("phone", func(c *daemon.Config) { c.Accept = daemon.AcceptAuto })
}

// offer sends a small file to the phone and waits until it lies in its inbox.
func (l *lab) offer(ctx context.Context, name string) (daemon.Transfer, error) {
	source, err := l.makeFile(name, 1<<20)
	if err != nil {
		return daemon.Transfer{}, err
	}
	t, err := l.devices["laptop"].Send("phone", source)
	if err != nil {
		return t, err
	}
	sent, err := l.devices["laptop"].Await(ctx, t.ID, func(t daemon.Transfer) bool { return t.State != daemon.StateConnecting })
	if err != nil || sent.State.Ended() {
		return sent, errors.Join(err, errorOf(sent))
	}
	_, err = l.devices["phone"].Await(ctx, t.ID, func(t daemon.Transfer) bool { return t.State == daemon.StateOffered })
	return sent, err
}

func errorOf(t daemon.Transfer) error {
	if t.Error == nil {
		return nil
	}
	return t.Error
}

// nothingStored checks that no file, whole or partial, is in the phone's folder under that name.
func (l *lab) nothingStored(name string) error {
	found, err := filepath.Glob(filepath.Join(l.devices["phone"].cfg.Home.Downloads, "*"+name+"*"))
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("the receiver has %v", found)
	}
	return err
}

// cutRelay kills the relay in the middle of a relayed transfer and starts it again: the transfer pauses, the session finds a new link, and the
// file arrives whole without being sent twice.
func cutRelay(ctx context.Context, l *lab, s *Stage) error {
	ctx, cancel := context.WithTimeout(ctx, stageTimeout)
	defer cancel()
	laptop := l.devices["laptop"]
	source, err := l.makeFile("cut.bin", 8*l.opt.RouteSize)
	if err != nil {
		return err
	}
	t, err := laptop.Send("phone", source)
	if err != nil {
		return err
	}
	began := time.Now()
	at, err := laptop.Await(ctx, t.ID, func(t daemon.Transfer) bool { return t.State.Ended() || t.Bytes >= l.opt.RouteSize })
	if err != nil {
		return err
	}
	if at.State.Ended() {
		return fmt.Errorf("the transfer ended before the relay could be cut: %s", at.State)
	}
	if err := l.downTurnd(); err != nil {
		return fmt.Errorf("stop turnd: %w", err)
	}
	paused, err := laptop.Await(ctx, t.ID, func(t daemon.Transfer) bool { return t.State.Ended() || t.State == daemon.StatePaused })
	if err != nil {
		return err
	}
	if paused.State != daemon.StatePaused {
		return fmt.Errorf("after the cut the user sees %s, want paused", paused.State)
	}
	noticed := time.Since(began)
	if err := l.upTurnd(); err != nil {
		return fmt.Errorf("start turnd again: %w", err)
	}
	if t, err = laptop.Await(ctx, t.ID, ended); err != nil {
		return err
	}
	s.Path = t.Path
	if t.State != daemon.StateDone {
		return fmt.Errorf("the transfer ended %s: %w", t.State, errorOf(t))
	}
	s.Detail = fmt.Sprintf("cut after %d MiB; the user sees paused %.0f ms into it, then sending, then done", at.Bytes>>20, ms(noticed))
	return arrived(ctx, s, l.devices["phone"], t, source, relayed)
}
