package arq

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Stream is a net.Conn with CloseWrite. Its methods are safe for concurrent use.
type Stream struct {
	cfg   Config
	under Datagrams
	began time.Time
	kick  chan struct{} // holds a token while writeLoop may have something to do
	done  chan struct{} // closed when both goroutines have ended

	mu    sync.Mutex // guards the fields below
	cond  sync.Cond  // who waits in Read, Write or Close; broadcast when that may go on
	err   error      // why the stream is over
	loops int        // goroutines that run
	in    receiver
	out   sender
	stats Stats

	readLimit, writeLimit deadline
}

// New makes a stream on datagrams, which belong to it from now on. Both ends call it.
func New(under Datagrams, cfg Config) *Stream {
	s := &Stream{cfg: cfg.withDefaults(), under: under, began: time.Now(), kick: make(chan struct{}, 1), done: make(chan struct{})}
	s.cond.L = &s.mu
	s.in.window = uint64(s.cfg.Window)
	s.in.limit = s.in.window
	s.in.granted = s.in.window > firstGrant
	s.out.init(s.cfg)
	s.loops = 2
	go s.readLoop()
	go s.writeLoop()
	return s
}

// now is the stream's time.
func (s *Stream) now() int64 { return int64(time.Since(s.began)) + 1 }

func (s *Stream) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Read reads what the peer wrote. It ends with io.EOF after the peer's CloseWrite, and with ErrTruncated without.
func (s *Stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if len(p) == 0 {
			return 0, nil
		}
		if s.readLimit.passed() {
			return 0, os.ErrDeadlineExceeded
		}
		if n := s.in.read(p); n > 0 {
			if s.in.grant() {
				s.wake()
			}
			return n, nil
		}
		if s.in.atEnd() {
			return 0, io.EOF
		}
		if s.err != nil {
			return 0, s.err
		}
		s.cond.Wait()
	}
}

// Write takes p, as fast as it can be sent. Bytes of a Write that failed may have left.
func (s *Stream) Write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.err != nil:
			return n, s.err
		case s.out.ending:
			return n, ErrClosed
		case s.writeLimit.passed():
			return n, os.ErrDeadlineExceeded
		case len(p) == n:
			return n, nil
		}
		if room := s.out.room(s.cfg.Window); room > 0 {
			m := min(room, len(p)-n)
			s.out.write(p[n : n+m])
			n += m
			s.wake()
			continue
		}
		s.cond.Wait()
	}
}

// CloseWrite tells the peer that nothing follows what was written.
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.out.end()
	s.wake()
	return nil
}

// Close ends the stream, after what was written has been acknowledged, or 250 ms. It waits for the goroutines.
func (s *Stream) Close() error {
	s.mu.Lock()
	if s.err == nil && !s.out.ending {
		s.out.ending = true // no more Writes
	}
	var late bool
	t := time.AfterFunc(closeWait, func() {
		s.mu.Lock()
		late = true
		s.mu.Unlock()
		s.cond.Broadcast()
	})
	for s.err == nil && !late && !s.out.settled() {
		s.cond.Wait()
	}
	t.Stop()
	bye := s.err == nil
	if bye {
		s.err = ErrClosed
	}
	s.mu.Unlock()
	s.cond.Broadcast()
	if bye {
		s.sayClose()
	}
	_ = s.under.Close()
	s.wake()
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.held.drop()
	s.in.reset()
	return nil
}

// sayClose writes the last packet. Should it get lost, the peer finds the end by its silence.
func (s *Stream) sayClose() {
	s.mu.Lock()
	number := s.out.next
	s.out.next++
	s.mu.Unlock()
	_, _ = s.under.Send([][]byte{append(appendU48(nil, number), frameClose)})
}

// fail ends the stream. The first cause stays.
func (s *Stream) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.cond.Broadcast()
	s.wake()
	_ = s.under.Close()
}

// Done is closed when the stream is over and nothing of it runs any more.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Err says why the stream is over, nil while it is not.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Stats returns what was counted, and the state of the path.
func (s *Stream) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.RTT, st.MinRTT = time.Duration(s.out.srtt), time.Duration(s.out.model.minRTT)
	st.Rate, st.Packet = uint64(s.out.model.rate()*1e9), s.out.packet
	return st
}

// LocalAddr returns the datagrams' address at this end.
func (s *Stream) LocalAddr() net.Addr { return s.under.LocalAddr() }

// RemoteAddr returns the datagrams' address at the other end.
func (s *Stream) RemoteAddr() net.Addr { return s.under.RemoteAddr() }

// readLoop takes packets until there are no more.
func (s *Stream) readLoop() {
	defer s.ended()
	var p packet
	for {
		err := s.under.Receive(func(b []byte) {
			if p.parse(b) {
				s.take(&p)
			}
		})
		s.mu.Lock()
		asked := s.in.due > 0
		over := s.err != nil
		s.mu.Unlock()
		if asked {
			s.wake()
		}
		if err != nil {
			s.fail(err)
			return
		}
		if over {
			return
		}
	}
}

// ended is what a goroutine does last. The last of them gives the memory back; what came and was not read stays until Close.
func (s *Stream) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loops--; s.loops > 0 {
		return
	}
	s.out.held.drop()
	s.out.reset()
	close(s.done)
}

// take acts on one packet.
func (s *Stream) take(p *packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	now := s.now()
	s.stats.PacketsReceived++
	if !s.in.note(p, now) {
		return // it came twice, or is too old to say so
	}
	if len(p.acks) > 0 {
		if !s.out.acknowledged(p, now, &s.stats) {
			s.breakLocked()
			return
		}
		s.wake()
		s.cond.Broadcast()
	}
	if p.hasWindow && p.window > s.out.allowed {
		s.out.allowed = p.window
		s.wake()
	}
	if p.hasFin && !s.in.finish(p.fin) || p.hasData && !s.in.data(p.offset, p.data) {
		s.breakLocked()
		return
	}
	if p.closed && s.err == nil {
		s.err = ErrTruncated
	}
	if p.hasData || p.hasFin || p.closed {
		s.cond.Broadcast()
	}
}

// breakLocked ends the stream for a peer that does what it must not.
func (s *Stream) breakLocked() {
	if s.err == nil {
		s.err = errProtocol
	}
	s.cond.Broadcast()
	s.wake()
}

// burst is how many packets are made at once: a train of them fits into one UDP message of the kernel's.
const burst = 40

// writeLoop sends what there is to be sent, when it may be.
func (s *Stream) writeLoop() {
	defer s.ended()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	mem := make([]byte, burst*s.cfg.Probe)
	batch := make([][]byte, 0, burst)
	for {
		s.mu.Lock()
		if s.err != nil {
			s.mu.Unlock()
			_ = s.under.Close()
			return
		}
		now := s.now()
		if s.out.expired(now, &s.stats, int64(s.cfg.Patience)) {
			s.mu.Unlock()
			s.fail(ErrSilent)
			return
		}
		batch = s.packets(mem, batch[:0], now)
		s.stats.PacketsSent += uint64(len(batch))
		next := s.nextLocked(now)
		s.mu.Unlock()
		if len(batch) > 0 {
			s.cond.Broadcast() // there may be room to write
			tooBig, err := s.under.Send(batch)
			if tooBig {
				s.mu.Lock()
				s.stats.TooBig++
				s.out.tooBig()
				s.mu.Unlock()
			}
			if err != nil {
				s.fail(err)
				return
			}
			continue
		}
		timer.Reset(next)
		select {
		case <-s.kick:
		case <-timer.C:
		}
	}
}

// nextLocked is how long until there is something to do without being kicked.
func (s *Stream) nextLocked(now int64) time.Duration {
	next := now + int64(time.Hour)
	if s.in.due > 0 {
		next = min(next, s.in.due)
	}
	next = min(next, s.out.deadline(now))
	return time.Duration(max(0, next-now))
}
