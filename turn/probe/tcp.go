package probe

import (
	"errors"
	"fmt"
	"io"

	"traverse.internal/core/stun"
)

// peerConnection connects two TCP allocations, RFC 6062. A server that has none is not broken: the step says so.
func (r *run) peerConnection(family stun.Family) error {
	return r.step("connect", family, func() (string, error) {
		near, err := r.allocate(family, stun.TransportTCP)
		if refuses(err, stun.CodeForbidden, stun.CodeUnsupportedTransport) {
			return "the server has no TCP allocations", nil
		}
		if err != nil {
			return "", err
		}
		defer near.release()
		far, err := r.allocate(family, stun.TransportTCP)
		if err != nil {
			return "", fmt.Errorf("a second allocation: %w", err)
		}
		defer far.release()
		if err := far.permit(near.relayed.Addr()); isForbidden(err) {
			return "not tried: relayed addresses may not be peers", nil
		} else if err != nil {
			return "", err
		}
		m, err := near.ask(stun.MethodConnect, peerAttr(far.relayed))
		if err != nil {
			return "", err
		}
		return "relay to relay over TCP", r.joinEnds(near, far, m)
	})
}

// joinEnds binds a data connection to each end and sends bytes through both.
func (r *run) joinEnds(near, far *allocation, connected stun.Message) error {
	id, err := connected.Uint32(stun.AttrConnectionID)
	if err != nil {
		return err
	}
	frame, err := far.next(r.deadline())
	if err != nil {
		return fmt.Errorf("the peer's side got no ConnectionAttempt: %w", err)
	}
	attempt, err := stun.Parse(frame)
	if err != nil || attempt.Type() != stun.MethodConnectionAttempt.Indication() {
		return errors.New("the peer's side got something else than a ConnectionAttempt")
	}
	farID, err := attempt.Uint32(stun.AttrConnectionID)
	if err != nil {
		return err
	}
	a, err := r.bindConnection(id)
	if err != nil {
		return err
	}
	defer a.close()
	b, err := r.bindConnection(farID)
	if err != nil {
		return err
	}
	defer b.close()
	if err := carries(a, b, "probe to peer"); err != nil {
		return err
	}
	return carries(b, a, "probe to client")
}

func (r *run) bindConnection(id uint32) (*client, error) {
	c, err := r.dial()
	if err != nil {
		return nil, err
	}
	if _, err = c.ask(stun.MethodConnectionBind, func(b *stun.Builder) { b.AddUint32(stun.AttrConnectionID, id) }); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func carries(from, to *client, text string) error {
	_ = from.conn.SetWriteDeadline(from.run.deadline())
	_ = to.conn.SetReadDeadline(from.run.deadline())
	if _, err := io.WriteString(from.conn, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to.conn, got); isTimeout(err) {
		return &noDataError{"over the joined connections"}
	} else if err != nil {
		return err
	}
	if string(got) != text {
		return &noDataError{"as it was sent"}
	}
	return nil
}

func refuses(err error, codes ...stun.ErrorCode) bool {
	var answer *answerError
	if !errors.As(err, &answer) {
		return false
	}
	for _, code := range codes {
		if answer.code == code {
			return true
		}
	}
	return false
}
