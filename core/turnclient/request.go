package turnclient

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"traverse.internal/core/stun"
)

// maxFrame is the longest message taken from a server: realm, nonce, software and a phrase of 763 bytes each, addresses
// and integrity make 3.3 KiB.
const maxFrame = 4096

// maxTries is how often one request is sent: bare, with credentials, and with a new nonce.
const maxTries = 3

// credentials are what the long-term mechanism needs. The zero value sends bare requests.
type credentials struct {
	user, realm, nonce string
	key                []byte
}

// challenged returns the credentials for a request that m refused with 401 or 438, and whether m names what it takes.
func (cr credentials) challenged(m stun.Message, user, password string) (credentials, bool) {
	nonce, err := m.Text(stun.AttrNonce)
	if err != nil || len(nonce) == 0 {
		return cr, false
	}
	realm, err := m.Text(stun.AttrRealm)
	if err != nil && cr.key == nil {
		return cr, false
	}
	if err == nil && (cr.key == nil || string(realm) != cr.realm) {
		cr.realm, cr.key = string(realm), stun.LongTermKey(user, string(realm), password)
	}
	cr.user, cr.nonce = user, string(nonce)
	return cr, true
}

// appendRequest builds a request: add's attributes, then those of the credentials.
func appendRequest(dst []byte, method stun.Method, id stun.TransactionID, cr credentials, add func(*stun.Builder)) []byte {
	b := stun.New(dst, method.Request(), id)
	add(&b)
	if cr.key != nil {
		b.AddText(stun.AttrUsername, cr.user)
		b.AddText(stun.AttrRealm, cr.realm)
		b.AddText(stun.AttrNonce, cr.nonce)
		b.AddIntegrity(cr.key)
	}
	return b.Bytes()
}

// genuine reports whether m may be believed as a response to a request made with cr.
func (cr credentials) genuine(m stun.Message) bool {
	if cr.key == nil || m.CheckIntegrity(cr.key) == nil {
		return true
	}
	if m.Type().Class != stun.ClassError {
		return false
	}
	// These say that there was no key to answer with (RFC 8489 §9.2.4); believing them costs one retry.
	switch code, _, _ := m.ErrorCode(); code {
	case stun.CodeBadRequest, stun.CodeUnauthenticated, stun.CodeUnknownAttribute, stun.CodeStaleNonce:
		return true
	}
	return false
}

// call is one request waiting for its response.
type call struct {
	method stun.Method
	cred   credentials
	reply  chan stun.Message // room for one, and one is sent at most
	forged atomic.Bool       // a response came that was not genuine
}

// do sends a request over the control connection, answers challenges, and returns the success response, which is the
// caller's. The error is an *Error, an *UnreachableError, or ErrClosed.
func (c *Client) do(ctx context.Context, method stun.Method, timeout time.Duration, add func(*stun.Builder)) (stun.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if ctx.Err() != nil { // select would take any of what is ready
		return stun.Message{}, failure(ctx, c.server, method.String(), timeoutError{})
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return stun.Message{}, failure(ctx, c.server, method.String(), timeoutError{})
	case <-c.life.Done():
		return stun.Message{}, c.gone()
	}
	for try := 1; ; try++ {
		cr := c.credentials()
		m, err := c.roundTrip(ctx, method, cr, add)
		if err != nil {
			return stun.Message{}, err
		}
		again, err := c.judge(m, cr.key == nil)
		if err == nil {
			return m, nil
		}
		if !again || try == maxTries {
			return stun.Message{}, err
		}
		next, ok := cr.challenged(m, c.cfg.Username, c.password)
		if !ok {
			return stun.Message{}, err
		}
		c.stats.challenges.Add(1)
		c.setCredentials(next)
	}
}

// judge returns nil for a success response, the refusal otherwise, and whether it is a challenge worth an answer: 438
// always is, 401 only when the request was not yet authenticated as well as it could be.
func (c *Client) judge(m stun.Message, first bool) (again bool, err error) {
	op := m.Type().Method.String()
	if unknown := m.AppendUnknown(nil, nil); len(unknown) > 0 { // RFC 8489 §6.3.3
		return false, &UnreachableError{c.server, op, fmt.Errorf("%w: it needs %v", ErrGarbage, unknown[0])}
	}
	if m.Type().Class == stun.ClassSuccess {
		return false, nil
	}
	e, err := refusal(m)
	if err != nil {
		return false, &UnreachableError{c.server, op, fmt.Errorf("%w: %w", ErrGarbage, err)}
	}
	return e.Code == stun.CodeStaleNonce || e.Code == stun.CodeUnauthenticated && first, e
}

func (c *Client) credentials() credentials {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cred
}

func (c *Client) setCredentials(cr credentials) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cred = cr
}

// roundTrip sends one request and waits for its response.
func (c *Client) roundTrip(ctx context.Context, method stun.Method, cr credentials, add func(*stun.Builder)) (stun.Message, error) {
	id := stun.NewTransactionID()
	w := &call{method: method, cred: cr, reply: make(chan stun.Message, 1)}
	c.mu.Lock()
	c.calls[id] = w
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, id)
		c.mu.Unlock()
	}()

	var again <-chan time.Time
	for wait := firstWait; ; wait *= 2 {
		if err := c.write(method, id, cr, add); err != nil {
			return stun.Message{}, err
		}
		if c.cfg.UDP { // a stream repeats by itself
			again = time.After(wait)
		}
		select {
		case m := <-w.reply:
			return m, nil
		case <-again:
		case <-c.life.Done():
			return stun.Message{}, c.gone()
		case <-ctx.Done():
			if w.forged.Load() {
				return stun.Message{}, &UnreachableError{c.server, method.String(), ErrForged}
			}
			return stun.Message{}, failure(ctx, c.server, method.String(), timeoutError{})
		}
	}
}

// firstWait is how long an answer over UDP is waited for before the request is repeated, then twice as long (RFC 8489 §6.2.1).
const firstWait = 500 * time.Millisecond

// write sends one request. A write that fails may have sent half a message, so it ends the client.
func (c *Client) write(method stun.Method, id stun.TransactionID, cr credentials, add func(*stun.Builder)) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.out = appendRequest(c.out[:0], method, id, cr, add)
	// Not the context's deadline: that a caller had little time must not end everybody's connection.
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.cfg.Timeout))
	if _, err := c.conn.Write(c.out); err != nil && !c.cfg.UDP { // there it is one of those that get lost
		c.fail(failure(context.Background(), c.server, "control connection", err))
		return c.gone()
	}
	c.stats.requests.Add(1)
	return nil
}

// gone returns the error for calls after the end of the control connection.
func (c *Client) gone() error { return context.Cause(c.life) }

// deliver sorts one message.
func (c *Client) deliver(m stun.Message) {
	switch m.Type().Class {
	case stun.ClassIndication:
		c.indication(m)
	case stun.ClassSuccess, stun.ClassError:
		c.mu.Lock()
		w := c.calls[m.TransactionID()]
		c.mu.Unlock()
		switch {
		case w == nil || w.method != m.Type().Method:
			c.stats.stray.Add(1)
		case !w.cred.genuine(m):
			c.stats.forged.Add(1)
			w.forged.Store(true)
		default:
			select {
			case w.reply <- m:
			default: // the same response twice
				c.stats.stray.Add(1)
			}
		}
	default:
		c.stats.stray.Add(1)
	}
}
