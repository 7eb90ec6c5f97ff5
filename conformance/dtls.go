package conformance

import (
	"bytes"
	"context"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net"
	"time"

	piondtls "github.com/pion/dtls/v2"

	"traverse.internal/core/stun"
)

// dtlsConfig is that of a client.
func (p *probe) dtlsConfig(protocols ...string) *piondtls.Config {
	return &piondtls.Config{
		SupportedProtocols: protocols, FlightInterval: p.config.Wait / 4,
		// The library does not compare the certificate with a name that is an address; verify does.
		InsecureSkipVerify: true, VerifyPeerCertificate: p.verify,
	}
}

// verify verifies the server's chain for the name or address that it is called by.
func (p *probe) verify(raw [][]byte, _ [][]*x509.Certificate) error {
	config := p.tlsConfig()
	options := x509.VerifyOptions{Roots: config.RootCAs, DNSName: config.ServerName, Intermediates: x509.NewCertPool()}
	var leaf *x509.Certificate
	for i, der := range raw {
		cert, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
			return err
		case i == 0:
			leaf = cert
		default:
			options.Intermediates.AddCert(cert)
		}
	}
	if leaf == nil {
		return errors.New("the server has no certificate")
	}
	if _, err := leaf.Verify(options); err != nil {
		return &stdtls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{leaf}, Err: err}
	}
	return nil
}

// secureDatagrams speaks DTLS over a socket, which it takes over.
func (p *probe) secureDatagrams(conn net.Conn) net.Conn {
	ctx, cancel := context.WithTimeout(p.ctx, 2*p.config.Wait)
	defer cancel()
	secured, err := piondtls.ClientWithContext(ctx, conn, p.dtlsConfig("stun.turn"))
	if err != nil {
		conn.Close()
		p.skipf("no DTLS with the server: %v", err)
	}
	return secured
}

// recorder is a connection on which the first datagram is kept and nothing comes.
type recorder struct {
	net.Conn
	first chan []byte
}

func (r recorder) Write(b []byte) (int, error) {
	select {
	case r.first <- bytes.Clone(b):
	default:
	}
	return len(b), nil
}

// hello returns a ClientHello without a cookie.
func (p *probe) hello() []byte {
	nobody, other := net.Pipe()
	defer nobody.Close()
	defer other.Close()
	r := recorder{nobody, make(chan []byte, 1)}
	ctx, cancel := context.WithCancel(p.ctx)
	ended := make(chan struct{})
	go p.greet(ctx, r, ended)
	var first []byte
	select {
	case first = <-r.first:
	case <-ended:
	}
	cancel()
	nobody.Close()
	<-ended
	if first == nil {
		p.skipf("the run was ended")
	}
	return first
}

// greet begins a handshake that nobody answers.
func (p *probe) greet(ctx context.Context, r recorder, ended chan<- struct{}) {
	defer close(ended)
	if conn, err := piondtls.ClientWithContext(ctx, r, p.dtlsConfig("stun.turn")); err == nil {
		_ = conn.Close()
	}
}

// Handshake messages of a datagram that has one record with one message: RFC 6347 §4.1, §4.2.2.
const (
	helloServer = 2
	helloVerify = 3

	recordLen  = 13 // type, version, epoch, sequence number, length
	messageLen = 12 // type, length, sequence number, fragment's offset and length
	bodyAt     = recordLen + messageLen
)

func messageOf(datagram []byte) (kind byte, body []byte) {
	if len(datagram) < bodyAt || datagram[0] != 22 {
		return 0, nil
	}
	return datagram[recordLen], datagram[bodyAt:]
}

// withCookie returns a hello as it is sent again with a cookie.
func withCookie(hello, cookie []byte) []byte {
	at := bodyAt + 2 + 32
	at += 1 + int(hello[at]) // session id; the cookie, of no bytes, begins here
	out := append(bytes.Clone(hello[:at]), byte(len(cookie)))
	out = append(append(out, cookie...), hello[at+1:]...)
	out[10] = 1 // the record's sequence number
	binary.BigEndian.PutUint16(out[11:], uint16(len(out)-recordLen))
	for _, field := range []int{recordLen + 1, recordLen + 9} { // 24 bits each: of the message, and of its fragment
		out[field], out[field+1], out[field+2] = 0, byte((len(out)-bodyAt)>>8), byte(len(out)-bodyAt)
	}
	out[recordLen+5] = 1 // the message's sequence number
	return out
}

// sayHello sends a hello from a socket, and returns the handshake message that answers it; 0: none does.
func (p *probe) sayHello(conn net.Conn, hello []byte) (kind byte, body []byte) {
	p.must(conn.SetDeadline(time.Now().Add(p.config.Wait)))
	_, err := conn.Write(hello)
	p.must(err)
	var room [1 << 12]byte
	n, err := conn.Read(room[:])
	if err != nil {
		return 0, nil
	}
	return messageOf(bytes.Clone(room[:n]))
}

// cookieOf returns the cookie of a HelloVerifyRequest: version, length, cookie.
func cookieOf(body []byte) []byte {
	if len(body) < 3 || len(body) < 3+int(body[2]) {
		return nil
	}
	return body[3 : 3+int(body[2])]
}

// chosenProtocol returns what ALPN chose in a ServerHello: RFC 7301 §3.1. "": nothing.
func chosenProtocol(body []byte) string {
	at := 2 + 32
	if len(body) <= at {
		return ""
	}
	at += 1 + int(body[at]) + 2 + 1 // session id, cipher suite, compression
	if len(body) < at+2 {
		return ""
	}
	end := min(len(body), at+2+int(binary.BigEndian.Uint16(body[at:])))
	for at += 2; at+4 <= end; {
		kind, n := binary.BigEndian.Uint16(body[at:]), int(binary.BigEndian.Uint16(body[at+2:]))
		at += 4
		if kind == 16 && n > 3 && at+n <= end {
			return string(body[at+3 : at+n]) // behind the lengths of a list of one
		}
		at += n
	}
	return ""
}

func cookieFirst(p *probe) {
	if !p.config.Datagrams {
		p.skipf("needs a DTLS listener: turns:HOST?transport=udp")
	}
	socket := func() net.Conn {
		d := net.Dialer{}
		conn, err := d.DialContext(p.ctx, "udp", p.server.String())
		p.must(err)
		p.atEnd(func() { conn.Close() })
		return conn
	}
	hello, one, other := p.hello(), socket(), socket()
	kind, body := p.sayHello(one, hello)
	cookie, n := cookieOf(body), bodyAt+len(body)
	if kind != helloVerify || len(cookie) == 0 {
		p.failf("a ClientHello without a cookie: expected HelloVerifyRequest, got handshake message %d of %d bytes", kind, n)
	}
	const headers = 28 // of UDP and IPv4
	if n+headers > 2*(len(hello)+headers) {
		p.failf("HelloVerifyRequest: expected it not to be worth reflecting, got %d bytes for %d", n, len(hello))
	}
	if kind, _ := p.sayHello(other, withCookie(hello, cookie)); kind == helloServer {
		p.failf("a cookie of another port: expected it to be refused, got ServerHello")
	}
	wrong := bytes.Clone(cookie)
	wrong[len(wrong)-1] ^= 1
	if kind, _ := p.sayHello(one, withCookie(hello, wrong)); kind == helloServer {
		p.failf("a wrong cookie: expected it to be refused, got ServerHello")
	}
	kind, body = p.sayHello(one, withCookie(hello, cookie))
	if kind != helloServer {
		p.failf("the cookie that was given: expected ServerHello, got handshake message %d", kind)
	}
	if got := chosenProtocol(body); got != "stun.turn" { // RFC 7443
		p.failf("ALPN stun.turn: expected it to be chosen, got %q", got)
	}

	c := p.dial()
	relayed := c.allocate()
	peer := p.peerFor(relayed)
	c.bind(0x4000, peer.addr)
	c.onChannel(0x4000, []byte("secured"))
	peer.expect("through DTLS", []byte("secured"))
	peer.send(relayed, []byte("and back"))
	c.fromChannel("through DTLS", 0x4000, []byte("and back"))
	p.want("Refresh", c.ask(stun.MethodRefresh), success)
}

// plain skips what is a matter of datagrams as they are on the wire, when they are secured.
func (p *probe) plain(what string) {
	if p.config.Datagrams {
		p.skipf("a matter of plain UDP: %s", what)
	}
}
