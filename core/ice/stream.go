package ice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"traverse.internal/core/stun"
)

const (
	frameHeader = 2 // RFC 4571: length of what follows
	// maxFrame keeps the first byte of a frame within 0x00..0x02, where no TLS record begins. A check has about 120 bytes.
	maxFrame = 0x02ff
	// tlsFirst to tlsLast are the content types of TLS records: change_cipher_spec to application_data.
	tlsFirst, tlsLast = 0x14, 0x17
	// writeTimeout bounds a frame's write. A socket that takes no 700 bytes has a peer that reads nothing.
	writeTimeout = 2 * time.Second
)

var (
	errGarbage = errors.New("sent something else than checks")
	errCrossed = errors.New("is another attempt's, by simultaneous open")
	errTaken   = errors.New("there is a connection with this peer already")
	errFull    = errors.New("too many connections in one attempt")
)

// stream is one TCP connection while checks run on it, in frames of RFC 4571. Its reader is the only goroutine it has, and
// stops at the first byte that is TLS.
type stream struct {
	conn    *net.TCPConn
	peer    netip.AddrPort // by which the agent knows the other end
	dialled bool
	lent    *lent          // our allocation that it came through, or nil
	relay   netip.AddrPort // the relayed address it goes through, ours or the peer's; the zero value when direct

	wmu sync.Mutex // guards x; held while a frame is written, so that frames stay whole
	x   exchange

	done chan struct{} // closed when the reader has returned; then the fields below may be read
	head []byte        // what was read of TLS, one or two bytes
	err  error         // why the reader stopped, nil if TLS began
}

// write sends one message if the exchange allows it. It is silent otherwise: the agent does not need to know.
func (s *stream) write(msg []byte) {
	m, err := stun.Parse(msg)
	if err != nil || len(msg) > maxFrame {
		return // only our own agent writes here
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	now := time.Now()
	if !s.x.send(now, m) {
		return
	}
	frame := make([]byte, frameHeader, frameHeader+len(msg))
	binary.BigEndian.PutUint16(frame, uint16(len(msg)))
	s.conn.SetWriteDeadline(now.Add(writeTimeout))
	if _, err := s.conn.Write(append(frame, msg...)); err != nil {
		s.conn.Close() // the reader says so
	}
}

// state returns a copy of the exchange.
func (s *stream) state() exchange {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	return s.x
}

// detach ends our frames on this connection, for good.
func (s *stream) detach() {
	s.wmu.Lock()
	s.x.over = true
	s.wmu.Unlock()
}

// release stops the reader without taking a byte that is not its own, and returns the connection.
func (s *stream) release() (*net.TCPConn, []byte, error) {
	s.conn.SetReadDeadline(time.Unix(1, 0))
	<-s.done
	if s.err != nil && !errors.Is(s.err, os.ErrDeadlineExceeded) {
		return nil, nil, s.err
	}
	if err := s.conn.SetDeadline(time.Time{}); err != nil {
		return nil, nil, err
	}
	return s.conn, s.head, nil
}

// readFrame reads one frame. With tls it returns the bytes it read instead, because they begin a TLS record.
// The error is os.ErrDeadlineExceeded only if not one byte was taken.
func readFrame(r io.Reader) (frame []byte, tls bool, err error) {
	var h [frameHeader]byte
	n, err := io.ReadFull(r, h[:])
	if n > 0 && h[0] >= tlsFirst && h[0] <= tlsLast {
		return h[:n], true, nil
	}
	if err != nil {
		if n > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, false, err
	}
	size := int(binary.BigEndian.Uint16(h[:]))
	if size < stun.HeaderLen || size > maxFrame {
		return nil, false, errGarbage
	}
	frame = make([]byte, size)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, false, io.ErrUnexpectedEOF
	}
	return frame, false, nil
}

// parseCheck parses a frame, which must be a Binding message.
func parseCheck(frame []byte) (stun.Message, error) {
	m, err := stun.Parse(frame)
	if err != nil || m.Type().Method != stun.MethodBinding {
		return m, errGarbage
	}
	return m, nil
}

// addressee returns the ufrag of the device that a check is for: USERNAME is "theirs:ours" as the sender sees it
// (RFC 8445 §7.2.2).
func addressee(m stun.Message) (ufrag []byte, ok bool) {
	name, ok := m.Attr(stun.AttrUsername)
	if !ok || m.Type().Class != stun.ClassRequest {
		return nil, false
	}
	ufrag, _, ok = bytes.Cut(name, []byte(":"))
	return ufrag, ok
}

// mine says whether the request m is for this attempt and keyed with its password.
func (a *Attempt) mine(m stun.Message) error {
	ufrag, ok := addressee(m)
	switch {
	case !ok:
		return errGarbage
	case string(ufrag) != a.ufrag:
		return errCrossed
	case m.CheckIntegrity([]byte(a.password)) != nil:
		return errGarbage
	}
	return nil
}

// readLoop hands frames to the agent until the connection ends or TLS begins. first is a frame that was read already.
func (s *stream) readLoop(a *Attempt, first []byte) {
	defer a.wg.Done()
	frame, tls, err := first, false, error(nil)
	for {
		if frame != nil {
			err = a.deliver(s, frame)
		}
		if err == nil {
			frame, tls, err = readFrame(s.conn)
		}
		if tls || err != nil {
			break
		}
	}
	if tls {
		s.head = frame
	}
	s.err = err
	close(s.done)
	a.ended(s)
}

// deliver checks a frame and passes it on to the agent.
func (a *Attempt) deliver(s *stream, frame []byte) error {
	m, err := parseCheck(frame)
	if err != nil {
		return err
	}
	switch m.Type().Class {
	case stun.ClassRequest:
		if err := a.mine(m); err != nil {
			return err
		}
	case stun.ClassIndication:
		return nil // a keepalive (RFC 8445 §11)
	}
	s.wmu.Lock()
	s.x.receive(m)
	s.wmu.Unlock()
	a.wakeUp()
	a.mailbox(s.peer.Addr()).put(frame, s.peer)
	return nil
}
