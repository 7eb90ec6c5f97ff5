package probe

import (
	"bytes"
	"context"
	stdtls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	piondtls "github.com/pion/dtls/v2"

	"traverse.internal/core/stun"
)

const (
	// firstRetry of a request over UDP, doubled each time: RFC 8489 §6.2.1.
	firstRetry = 500 * time.Millisecond
	// maxFrames bounds what is read while something else is waited for. The probe itself causes three at most.
	maxFrames = 64
)

// answerError is an error response.
type answerError struct {
	method stun.Method
	code   stun.ErrorCode
	phrase string
}

func (e *answerError) Error() string {
	phrase := e.phrase
	if phrase == "" {
		phrase = e.code.Phrase()
	}
	return fmt.Sprintf("%v got %d %s", e.method, uint16(e.code), phrase)
}

// noDataError says that bytes did not arrive that should have.
type noDataError struct{ way string }

func (e *noDataError) Error() string { return "nothing arrived " + e.way }

func isForbidden(err error) bool {
	var answer *answerError
	return errors.As(err, &answer) && answer.code == stun.CodeForbidden
}

// client is one connection to the server. It belongs to one goroutine.
type client struct {
	run    *run
	conn   net.Conn
	stream bool
	realm  string
	nonce  []byte
	frames [][]byte // that came while an answer was waited for
}

func (r *run) dial() (*client, error) {
	network := "udp"
	if r.stream() {
		network = "tcp"
	}
	d := net.Dialer{Timeout: r.Timeout}
	conn, err := d.DialContext(r.ctx, network, r.Server.String())
	if err != nil {
		return nil, err
	}
	if r.Network == "tls" {
		secured := stdtls.Client(conn, &stdtls.Config{
			ServerName: r.ServerName, RootCAs: r.Roots, MinVersion: stdtls.VersionTLS12,
			NextProtos: []string{"stun.turn"}, // RFC 7443
		})
		_ = conn.SetDeadline(r.deadline())
		if err := secured.HandshakeContext(r.ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		r.report.Expires = &secured.ConnectionState().PeerCertificates[0].NotAfter
		conn = secured
	}
	if r.Network == "dtls" {
		if conn, err = r.secure(conn); err != nil {
			return nil, err
		}
	}
	return &client{run: r, conn: conn, stream: r.stream()}, nil
}

// secure speaks DTLS 1.2 over a connection, which it takes over: RFC 7350.
func (r *run) secure(conn net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(r.ctx, r.deadline())
	defer cancel()
	secured, err := piondtls.ClientWithContext(ctx, conn, &piondtls.Config{
		ServerName: r.ServerName, SupportedProtocols: []string{"stun.turn"}, FlightInterval: firstRetry,
		// The library does not compare the certificate with a name that is an address; verify does.
		InsecureSkipVerify: true, VerifyPeerCertificate: r.verify,
	})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// verify verifies the server's chain for the name or address that it is called by.
func (r *run) verify(raw [][]byte, _ [][]*x509.Certificate) error {
	var chain []*x509.Certificate
	for _, der := range raw {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return errors.New("the server has no certificate")
	}
	options := x509.VerifyOptions{Roots: r.Roots, DNSName: r.ServerName, Intermediates: x509.NewCertPool()}
	for _, cert := range chain[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := chain[0].Verify(options); err != nil {
		return &stdtls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	return nil
}

// deadline of the next answer.
func (r *run) deadline() time.Time {
	end := time.Now().Add(r.Timeout)
	if d, ok := r.ctx.Deadline(); ok && d.Before(end) {
		return d
	}
	return end
}

func (c *client) close() { _ = c.conn.Close() }

// ask sends a request and returns its success response. The first 401 and 438 are answered with credentials.
func (c *client) ask(method stun.Method, add ...func(*stun.Builder)) (stun.Message, error) {
	for try := 0; ; try++ {
		m, err := c.exchange(method, add)
		if err != nil || m.Type().Class == stun.ClassSuccess {
			return m, err
		}
		code, phrase, err := m.ErrorCode()
		if err != nil {
			return m, fmt.Errorf("%v: an error response without a code: %w", method, err)
		}
		signed := c.nonce != nil
		if realm, err := m.Text(stun.AttrRealm); err == nil {
			c.realm = string(realm)
		}
		if nonce, err := m.Text(stun.AttrNonce); err == nil {
			c.nonce = bytes.Clone(nonce)
		}
		again := code == stun.CodeUnauthenticated && !signed || code == stun.CodeStaleNonce
		if !again || c.nonce == nil || try == 2 {
			return m, &answerError{method, code, string(phrase)}
		}
	}
}

// exchange sends one request and waits for its answer.
func (c *client) exchange(method stun.Method, add []func(*stun.Builder)) (stun.Message, error) {
	id := stun.NewTransactionID()
	b := stun.New(nil, method.Request(), id)
	for _, a := range add {
		a(&b)
	}
	if c.nonce != nil {
		b.AddText(stun.AttrUsername, c.run.User)
		b.AddText(stun.AttrRealm, c.realm)
		b.Add(stun.AttrNonce, c.nonce)
		b.AddIntegrity(stun.LongTermKey(c.run.User, c.realm, c.run.Password))
	}
	if err := b.Err(); err != nil {
		return stun.Message{}, err
	}
	end := c.run.deadline()
	for wait := firstRetry; ; wait *= 2 {
		_ = c.conn.SetWriteDeadline(end)
		if _, err := c.conn.Write(b.Bytes()); err != nil {
			return stun.Message{}, err
		}
		until := end
		if retry := time.Now().Add(wait); !c.stream && retry.Before(end) {
			until = retry
		}
		m, err := c.answer(id, until)
		if isTimeout(err) && until.Before(end) && c.run.ctx.Err() == nil {
			continue
		}
		if isTimeout(err) {
			err = fmt.Errorf("%v got no answer: %w", method, err)
		}
		return m, err
	}
}

// answer reads until the answer with the id comes, and keeps what else comes.
func (c *client) answer(id stun.TransactionID, until time.Time) (stun.Message, error) {
	for {
		frame, err := c.read(until)
		if err != nil {
			return stun.Message{}, err
		}
		m, err := stun.Parse(frame)
		if err == nil && m.TransactionID() == id && (m.Type().Class == stun.ClassSuccess || m.Type().Class == stun.ClassError) {
			return m, nil
		}
		if len(c.frames) < maxFrames {
			c.frames = append(c.frames, frame)
		}
	}
}

// next returns the next frame that is no answer.
func (c *client) next(until time.Time) ([]byte, error) {
	if len(c.frames) > 0 {
		frame := c.frames[0]
		c.frames = c.frames[1:]
		return frame, nil
	}
	return c.read(until)
}

// read returns one datagram or frame.
func (c *client) read(until time.Time) ([]byte, error) {
	if err := c.run.ctx.Err(); err != nil {
		return nil, err
	}
	_ = c.conn.SetReadDeadline(until)
	if !c.stream {
		b := make([]byte, 2048)
		n, err := c.conn.Read(b)
		return b[:n], err
	}
	var b []byte
	for {
		n, need, err := stun.StreamFrameLen(b)
		if err != nil {
			return nil, fmt.Errorf("this is no TURN server: %w", err)
		}
		if need == 0 {
			return b[:n], nil
		}
		have := len(b)
		b = append(b, make([]byte, need)...)
		if _, err := io.ReadFull(c.conn, b[have:]); err != nil {
			return nil, err
		}
	}
}

func isUntrusted(err error) bool {
	var wrong *stdtls.CertificateVerificationError
	return errors.As(err, &wrong)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
