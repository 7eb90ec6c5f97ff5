package arq

import "time"

// deadline is when Read or Write gives up. The stream's mu guards it.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (s *Stream) setLocked(d *deadline, t time.Time) {
	d.at = t
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), s.cond.Broadcast)
	}
}

// SetDeadline sets both deadlines.
func (s *Stream) SetDeadline(t time.Time) error {
	_ = s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

// SetReadDeadline sets when a Read gives up with os.ErrDeadlineExceeded.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.setDeadline(&s.readLimit, t) }

// SetWriteDeadline sets when a Write gives up with os.ErrDeadlineExceeded. What it has taken until then is sent.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.setDeadline(&s.writeLimit, t) }

func (s *Stream) setDeadline(d *deadline, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.setLocked(d, t)
	s.cond.Broadcast()
	return nil
}
