package daemon

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"os"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/framing"
	"traverse.internal/core/ice"
	"traverse.internal/core/tls"
)

// badPeer is a contact of a node that finds its way there as any device does, and then speaks frames by hand over TLS.
type badPeer struct {
	*labNode // its identity, signalling and sockets; its connection manager has no part in it
	victim   *labNode
}

// badLink is its end of one link. A goroutine reads what comes, so that writing never waits for reading, until it is told to stop.
type badLink struct {
	t     *testing.T
	conn  *tls.Link
	id    [16]byte
	mu    sync.Mutex           // held while a frame is written
	got   atomic.Uint64        // bytes of frames that are acknowledged, if they are
	msgs  chan framing.Message // what came, until the link ended; *badBody for data
	sleep chan struct{}        // closed: it reads no more
	over  chan struct{}        // closed when it reads no more
}

// badBody is a data frame.
type badBody struct {
	framing.Message
	id   framing.ChannelID
	data []byte
}

// dial makes a link that nothing has been said on.
func (b *badPeer) dial(t *testing.T) *badLink {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), labPatience)
	defer cancel()
	at, err := connmgr.ICE{Endpoint: b.endpoint}.Gather(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	answer, err := b.signaler.Call(ctx, b.victim.self, at.Offer())
	if err != nil {
		t.Fatal(err)
	}
	path, err := at.Negotiate(ctx, ice.Offerer, answer)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.AsServer(ctx, path.Conn, path.Head, b.device, b.victim.self)
	if err != nil {
		path.Release()
		t.Fatal(err)
	}
	l := &badLink{t: t, conn: conn, msgs: make(chan framing.Message, 1<<16), sleep: make(chan struct{}), over: make(chan struct{})}
	t.Cleanup(func() {
		conn.Close()
		path.Release()
		<-l.over
	})
	go l.readLoop()
	return l
}

// session is dial, and HELLO both ways.
func (b *badPeer) session(t *testing.T) *badLink {
	t.Helper()
	l := b.dial(t)
	_, _ = rand.Read(l.id[:])
	l.control(&framing.Hello{
		Version: 1, SessionID: l.id, MaxBody: framing.MaxBody, InitialWindow: framing.MinInitialWindow,
		SessionWindow: framing.MinSessionWindow, MaxChannels: 4096,
	})
	await[*framing.Hello](l)
	return l
}

func (l *badLink) readLoop() {
	defer close(l.over)
	defer close(l.msgs)
	head := make([]byte, framing.HeaderLen)
	for {
		select {
		case <-l.sleep:
			return
		default:
		}
		if _, err := io.ReadFull(l.conn, head); err != nil {
			return
		}
		h, err := framing.ParseHeader(head)
		if err != nil {
			return
		}
		b := make([]byte, h.Length)
		if _, err := io.ReadFull(l.conn, b); err != nil {
			return
		}
		if h.Channel != framing.SessionChannel {
			l.got.Add(uint64(framing.HeaderLen + len(b)))
		}
		var m framing.Message = &badBody{id: h.Channel, data: b}
		switch h.Channel {
		case framing.Control:
			q, err := framing.ParseChannelRequest(b)
			if err != nil {
				return
			}
			m = &q
		case framing.SessionChannel:
			if m, err = framing.ParseMessage(b); err != nil {
				return
			}
			if q, ok := m.(*framing.Beacon); ok && !q.Answer {
				l.control(&framing.Beacon{Nonce: q.Nonce, Answer: true})
			}
		}
		select {
		case l.msgs <- m:
		case <-l.sleep:
			return
		}
	}
}

// write sends bytes. A victim that has had enough closes the link, which is its right.
func (l *badLink) write(b []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.conn.Write(b)
	return err == nil
}

func (l *badLink) control(ms ...framing.Message) bool {
	for _, m := range ms {
		if !l.write(framing.Native{}.AppendControl(nil, m)) {
			return false
		}
	}
	return true
}

func (l *badLink) data(id framing.ChannelID, body []byte) bool {
	return l.write(append(framing.AppendHeader(nil, framing.Header{Length: uint16(len(body)), Channel: id}), body...))
}

// open asks for a channel, and reports whether it was accepted; the reason if it was not.
func (l *badLink) open(id framing.ChannelID, name string) (bool, string) {
	l.t.Helper()
	l.control(&framing.ChannelRequest{ID: id, Name: name})
	for {
		q := await[*framing.ChannelRequest](l)
		if q == nil || q.IsAnswer && q.ID == id {
			return q != nil && q.Accepted, reasonIn(q)
		}
	}
}

func reasonIn(q *framing.ChannelRequest) string {
	if q == nil {
		return "the link ended"
	}
	return q.Reason
}

// await reads up to the first message of a type; the zero value when the link ends before.
func await[M framing.Message](l *badLink) (found M) {
	l.t.Helper()
	patience := time.After(labPatience)
	for {
		select {
		case m, more := <-l.msgs:
			if !more {
				return found
			}
			if m, ok := m.(M); ok {
				return m
			}
		case <-patience:
			l.t.Errorf("waited in vain for a %T", found)
			return found
		}
	}
}

// said reads what the victim says on a channel, until that or the link has ended. The second is the code of a reset.
func (l *badLink) said(id framing.ChannelID) (text string, code framing.Code) {
	l.t.Helper()
	patience := time.After(labPatience)
	for {
		select {
		case m, more := <-l.msgs:
			switch m := m.(type) {
			case *badBody:
				if m.id == id {
					if text += string(m.data); len(m.data) == 0 {
						return text, 0
					}
				}
			case *framing.Reset:
				if m.Channel == id {
					return text, m.Code
				}
			case *framing.GoAway:
				l.t.Errorf("the session was ended: %v %s", m.Code, m.Reason)
				return text, m.Code
			}
			if !more {
				l.t.Error("the link has ended")
				return text, framing.CodeInternal
			}
		case <-patience:
			l.t.Errorf("channel %#x is still open; it said %q", id, text)
			return text, 0
		}
	}
}

// alive wants the session to go on.
func (l *badLink) alive() {
	l.t.Helper()
	l.control(&framing.Beacon{Nonce: 4711})
	if m := await[*framing.Beacon](l); m == nil || m.Nonce != 4711 {
		l.t.Error("the session does not go on")
	}
}

// ended wants the victim to have ended the session, saying why.
func (l *badLink) ended(code framing.Code) {
	l.t.Helper()
	if m := await[*framing.GoAway](l); m == nil || m.Code != code {
		l.t.Errorf("the session was ended by %+v, want code %v", m, code)
	}
	l.conn.Close() // else the victim waits a second for that
}

// heard keeps what a node logs, as an operator sees it.
type heard struct {
	mu    sync.Mutex // guards the field below
	lines []string
}

func newHeard() (*heard, *slog.Logger) {
	h := new(heard)
	return h, slog.New(slog.NewTextHandler(h, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, string(p))
	return len(p), nil
}

// since returns the lines from the nth on, and how many there are.
func (h *heard) since(n int) ([]string, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.lines[n:]...), len(h.lines)
}

func (h *heard) has(n int, text string) bool {
	lines, _ := h.since(n)
	for _, line := range lines {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

// live is the memory that is in use or not yet swept, in bytes: unlike heap it costs no collection.
func live() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// badLab is a node, a contact that behaves and one that does not.
type badLab struct {
	node, good *labNode
	bad        *badPeer
	log        *heard
}

func newBadLab(t *testing.T, change func(*Config)) *badLab {
	t.Helper()
	lab := new(badLab)
	log, logger := newHeard()
	lab.log = log
	lab.node = startNode(t, "node", nil, func(c *Config) {
		if c.Log = logger; change != nil {
			change(c)
		}
	})
	lab.good = startNode(t, "good", lab.node, nil)
	lab.bad = &badPeer{startNode(t, "bad", lab.node, func(c *Config) { c.TCPOnly = true }), lab.node}
	join(t, lab.node, lab.good, false)
	join(t, lab.node, lab.bad.labNode, false)
	return lab
}

// files lists what is in the node's folder for downloads.
func (lab *badLab) files(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(lab.node.downloads.Path())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

const (
	// badMemory is what one contact may have a node hold: two sessions' windows of 24 MiB with what is kept for acknowledgements, and the test's own end of it.
	badMemory = 128 << 20

	// badLines is how many lines of log one misdeed may cost: a burst for what connects and ends, one for what was asked for, and few besides.
	badLines = 2*eventBurst + 8
)

// during runs a misdeed and looks after the node meanwhile: another contact is served, memory stays below a bound, the log does not fill.
func (lab *badLab) during(t *testing.T, do func(logged int)) {
	t.Helper()
	before := heap()
	_, logged := lab.log.since(0)
	ctx, cancel := context.WithCancel(t.Context())
	var served atomic.Int64
	var most uint64
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			short, stop := context.WithTimeout(context.Background(), labPatience)
			if _, _, _, err := lab.good.Ping(short, "node"); err != nil {
				t.Errorf("another contact meanwhile: %v", err)
			}
			stop()
			served.Add(1)
			most = max(most, live())
		}
	}()
	until(t, "another contact is served", func() bool { return served.Load() > 0 })
	do(logged)
	was := served.Load()
	until(t, "another contact is served still", func() bool { return served.Load() > was+1 })
	cancel()
	<-done
	if most > before+badMemory {
		t.Errorf("%d MiB were held for it", (most-before)>>20)
	}
	if lines, _ := lab.log.since(logged); len(lines) > badLines {
		t.Errorf("%d lines of log, the last %q", len(lines), lines[len(lines)-3:])
	}
}
