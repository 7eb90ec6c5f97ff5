package mux

// This file is pure arithmetic: no locks, no time, no I/O. All offsets are absolute counts of body bytes since the
// channel's, or the session's, start (PROTOCOL.md 4), so that a MAX that is lost, late or repeated does no harm.

// sendWindow is how far this side may send.
type sendWindow struct {
	limit uint64 // what the peer allows
	sent  uint64 // what has been queued against it
}

func (w *sendWindow) credit() uint64 {
	if w.sent >= w.limit {
		return 0
	}
	return w.limit - w.sent
}

// raise takes a limit from the peer. Granted credit is never taken back, so a lower one is an old one.
func (w *sendWindow) raise(limit uint64) { w.limit = max(w.limit, limit) }

// held is what the peer, as far as it has told, has not consumed: what was sent beyond limit - size.
func (w *sendWindow) held(size uint64) uint64 {
	consumed := uint64(0)
	if w.limit > size {
		consumed = w.limit - size
	}
	if w.sent <= consumed {
		return 0
	}
	return w.sent - consumed
}

// recvWindow is how far the peer may send.
type recvWindow struct {
	initial  uint64 // what the HELLO says
	size     uint64 // bytes that may lie here unread; grow.go moves it, never below initial
	limit    uint64 // announced to the peer
	received uint64
	consumed uint64 // read by the user, or thrown away
}

func newRecvWindow(size uint64) recvWindow { return recvWindow{initial: size, size: size, limit: size} }

// receive counts n bytes, and reports false when the peer had no credit for them.
func (w *recvWindow) receive(n int) bool {
	if uint64(n) > w.room() {
		return false
	}
	w.received += uint64(n)
	return true
}

func (w *recvWindow) consume(n int) { w.consumed += uint64(n) }

// room is the credit that the peer has left.
func (w *recvWindow) room() uint64 { return w.limit - w.received }

// owed is the credit that an announcement would add.
func (w *recvWindow) owed() uint64 {
	if w.consumed+w.size <= w.limit {
		return 0
	}
	return w.consumed + w.size - w.limit
}

// due tells whether to announce: when that raises what the peer has left by half. With a reader that keeps up this is
// once per third of the window; with one that is behind it comes sooner the less the peer has left, so that it is never
// out of credit while there is some to give. Of a long window it is a sixteenth: what is not announced is not under way.
func (w *recvWindow) due() bool {
	owed := w.owed()
	return owed > 0 && owed >= min(w.room()/2, max(dueAlways, w.size/16))
}

// dueAlways is how much credit in bytes is worth a message whatever the window.
const dueAlways = 256 << 10

// dueDrained is due for a channel with nothing left to read, when the session's window is session. A peer that shares
// that window as fairShare says stops a channel that holds its share; it must then learn that this one holds nothing.
// The peer knows the initial window only: what this one has grown by, it holds on top.
func (w *recvWindow) dueDrained(session *recvWindow) bool {
	owed := w.owed()
	return owed > 0 && owed >= w.size-w.initial+fairShare(w.initial, session.room(), session.initial)/2
}

// announce returns the limit to tell the peer from now on.
func (w *recvWindow) announce() uint64 {
	w.limit += w.owed()
	return w.limit
}

// fairShare is how many bytes that the peer has not consumed a channel may hold: its window, times the square of the
// part of the session's window that is free.
//
// So channels whose readers sleep leave room to those whose readers are awake, whenever they come: each takes less than
// the one before, and n of them with windows W leave S / (1 + n W/S) of a session's window S free (the solution of
// dF/dn = -W F²/S²), of which one more may hold W / (1 + n W/S)². With the defaults W = 256 KiB and S = 8 MiB, 100
// sleepers leave 2 MiB and a share of 15 KiB, 4,096 leave 64 KiB and a share of 16 bytes. A window all free takes
// nothing away from anybody.
//
// Window and session are the HELLO's. What a window has grown by since is beyond this arithmetic on either side of it:
// the session's has grown by as much.
func fairShare(window, free, session uint64) uint64 {
	part := min(1, float64(free)/float64(session))
	return max(1, uint64(float64(window)*part*part))
}

// share returns how much of want, in one body, a channel may queue when it has credit of its own, holds held bytes that
// the peer has not consumed of a fair share, and the session has free credit for all channels.
//
// A piece of a body is not worth a frame as long as the channel holds half its share: when the peer has consumed that,
// it gives credit (dueDrained, due).
func share(want, credit, held, fair, free uint64) uint64 {
	if held >= fair {
		return 0
	}
	n := min(want, credit, fair-held, free)
	if n < want && held > 0 && 2*held >= fair {
		return 0
	}
	return n
}
