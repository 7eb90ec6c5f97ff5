package dtlsserver

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
)

const (
	// maxDatagram is how long our handshake's datagrams are at most: they pass wherever IPv6 does, 1280 - 40 - 8.
	maxDatagram = 1232
	// maxFlight is more records than a handshake sends: a chain of 1 MB, in pieces of 1 KiB, 20 times.
	maxFlight = 1 << 16
)

// Alerts: RFC 5246 §7.2.
const (
	alertWarning = 1
	alertFatal   = 2

	alertCloseNotify          = 0
	alertHandshakeFailure     = 40
	alertIllegalParameter     = 47
	alertDecryptError         = 51
	alertProtocolVersion      = 70
	alertInternalError        = 80
	alertNoApplicationProtcol = 120
)

// Error is why a handshake cannot go on.
type Error struct {
	why   string
	alert uint8
}

func (e *Error) Error() string { return "dtlsserver: " + e.why }

// Alert is the datagram that tells the client why its handshake cannot go on.
func Alert(err error) []byte {
	alert := uint8(alertInternalError)
	if e := (*Error)(nil); errors.As(err, &e) {
		alert = e.alert
	}
	return append(appendRecordHeader(nil, typeAlert, version12, 0, maxSequence, 2), alertFatal, alert)
}

var (
	errNoHello     = &Error{"not a ClientHello of DTLS 1.2", alertIllegalParameter}
	errNoSuite     = &Error{"client and server have no cipher suite, group or signature in common", alertHandshakeFailure}
	errNoProtocol  = &Error{"client and server have no application protocol in common", alertNoApplicationProtcol}
	errRenegotiate = &Error{"the client wants to renegotiate what never was", alertHandshakeFailure}
	errPoints      = &Error{"the client does not read uncompressed points", alertIllegalParameter}
	errFinished    = &Error{"the client's Finished does not verify", alertDecryptError}
	errSign        = &Error{"the certificate's key does not sign", alertInternalError}
)

// Config is what a server shows to its clients.
type Config struct {
	Chain     [][]byte      // the certificate and those above it, DER
	Key       crypto.Signer // of the first: ECDSA, RSA or Ed25519
	Protocols []string      // that ALPN may choose, the best first; none: ALPN is ignored
}

// Check says whether the configuration can be used.
func (c *Config) Check() error {
	if len(c.Chain) == 0 || c.Key == nil {
		return errors.New("dtlsserver: no certificate")
	}
	if schemes, _ := schemesOf(c.Key); schemes == nil {
		return fmt.Errorf("dtlsserver: a key of type %T cannot be used", c.Key.Public())
	}
	return nil
}

// Handshake is that of one client, between our flight and its last one. It belongs to one goroutine.
type Handshake struct {
	suite    suite
	private  *ecdh.PrivateKey
	random   [2][]byte // client's, server's
	extended bool      // master secret, RFC 7627
	protocol string

	transcript []byte   // what was said
	asked      int      // how much of it before the client's key
	flight     [][]byte // what the client was sent
	repeats    uint8    // how often it is yet sent again
	keys       uint8    // how many more keys of the client are tried
	number     uint16   // of our next message
	theirs     uint16   // of the client's next message
	record     uint64   // of our next record in epoch 0

	master []byte   // nil: no key has come
	opened *Session // the keys are there, its Finished is not
}

// Begin answers a ClientHello that a Gate has found Proven. A failure is an *Error.
func Begin(c *Config, datagram []byte) (*Handshake, error) {
	in, ok := parseHello(datagram)
	if !ok || in.old || in.record > maxSequence-maxFlight {
		return nil, errNoHello
	}
	if !in.fresh() {
		return nil, errRenegotiate
	}
	if !in.uncompressed() {
		return nil, errPoints
	}
	h := &Handshake{
		repeats: maxRepeats, keys: maxRepeats,
		number: in.message.number, theirs: in.message.number + 1, record: in.record, // RFC 6347 §4.2.1, §4.2.2
		transcript: append([]byte(nil), in.message.whole...),
	}
	h.random[0] = append([]byte(nil), in.random...)
	h.random[1] = make([]byte, 32)
	_, _ = rand.Read(h.random[1]) // never fails since Go 1.24

	schemes, isRSA := schemesOf(c.Key)
	ok = false
	for _, s := range suites {
		if s.rsa == isRSA && lists(in.suites, s.id) {
			h.suite, ok = s, true
			break
		}
	}
	if !ok {
		return nil, errNoSuite
	}
	if h.protocol, ok = in.protocol(c.Protocols); !ok {
		return nil, errNoProtocol
	}
	exchange, err := h.keyExchange(&in, c.Key, schemes)
	if err != nil {
		return nil, err
	}
	out := &flightWriter{handshake: h}
	out.message(msgServerHello, h.serverHello(&in))
	out.message(msgCertificate, certificates(c.Chain))
	out.message(msgServerKeyExchange, exchange)
	out.message(msgServerHelloDone, nil)
	h.flight = out.datagrams()
	h.asked = len(h.transcript)
	return h, nil
}

// Flight is what the client is to be sent, and sent again when it repeats its ClientHello or says nothing. Its datagrams are good
// until the next call. Each time their records have new numbers: RFC 6347 §4.1; with those of before they are repetitions, which a client
// ignores that had no use for them when they first came (GnuTLS for what comes behind a hole).
func (h *Handshake) Flight() [][]byte {
	for _, d := range h.flight {
		for len(d) > 0 {
			end := recordHeader + int(binary.BigEndian.Uint16(d[11:]))
			binary.BigEndian.PutUint64(d[3:], h.record)
			h.record++
			d = d[end:]
		}
	}
	return h.flight
}

// Begins says whether the datagram has the ClientHello that this handshake began with.
func (h *Handshake) Begins(datagram []byte) bool {
	in, ok := parseHello(datagram)
	return ok && bytes.Equal(in.random, h.random[0])
}

func (h *Handshake) serverHello(in *hello) []byte {
	b := binary.BigEndian.AppendUint16(nil, version12)
	b = append(b, h.random[1]...)
	b = append(b, 0) // no session id: nothing is resumed
	b = binary.BigEndian.AppendUint16(b, h.suite.id)
	b = append(b, 0) // no compression
	var ext []byte
	if _, found := in.find(extRenegotiation); found || lists(in.suites, scsvRenegotiation) {
		ext = append(ext, extRenegotiation>>8, extRenegotiation&0xff, 0, 1, 0) // RFC 5746 §3.6
	}
	if _, h.extended = in.find(extMasterSecret); h.extended {
		ext = append(ext, 0, extMasterSecret, 0, 0)
	}
	if n := len(h.protocol); n > 0 {
		ext = append(ext, 0, extALPN, 0, byte(n+3), 0, byte(n+1), byte(n))
		ext = append(ext, h.protocol...)
	}
	if len(ext) > 0 {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(ext))), ext...)
	}
	return b
}

func certificates(chain [][]byte) []byte {
	b := make([]byte, 3)
	for _, c := range chain {
		b = append(b, byte(len(c)>>16), byte(len(c)>>8), byte(len(c)))
		b = append(b, c...)
	}
	n := len(b) - 3
	b[0], b[1], b[2] = byte(n>>16), byte(n>>8), byte(n)
	return b
}

// keyExchange chooses a group and signs a fresh key: RFC 8422 §5.4.
func (h *Handshake) keyExchange(in *hello, key crypto.Signer, schemes []scheme) ([]byte, error) {
	offered := in.list(extGroups)
	if offered == nil {
		offered = []byte{0, 23} // RFC 8422 §4: any; P-256 is what everybody has
	}
	var b []byte
	for _, g := range groups {
		if !lists(offered, g.id) {
			continue
		}
		var err error
		if h.private, err = g.curve.GenerateKey(rand.Reader); err != nil {
			return nil, errSign
		}
		public := h.private.PublicKey().Bytes()
		b = append(b, 3, byte(g.id>>8), byte(g.id), byte(len(public))) // 3: a named curve
		b = append(b, public...)
		break
	}
	if b == nil {
		return nil, errNoSuite
	}
	accepted := in.list(extSignatures)
	for _, s := range schemes {
		if !lists(accepted, s.id) {
			continue
		}
		signature, err := s.sign(key, append(append(append([]byte(nil), h.random[0]...), h.random[1]...), b...))
		if err != nil {
			continue // an RSA key may be too short for a scheme
		}
		b = binary.BigEndian.AppendUint16(b, s.id)
		return append(binary.BigEndian.AppendUint16(b, uint16(len(signature))), signature...), nil
	}
	return nil, errNoSuite
}

// flightWriter cuts messages into records and packs those into datagrams.
type flightWriter struct {
	handshake *Handshake
	done      [][]byte
	datagram  []byte
}

func (w *flightWriter) message(kind uint8, body []byte) {
	h := w.handshake
	h.transcript = appendMessageHeader(h.transcript, kind, h.number, len(body), 0, len(body))
	h.transcript = append(h.transcript, body...)
	const heads = recordHeader + messageHeader
	for offset := 0; ; {
		room := maxDatagram - len(w.datagram) - heads
		if room < min(64, len(body)-offset) {
			w.done, w.datagram = append(w.done, w.datagram), nil
			continue
		}
		n := min(room, len(body)-offset)
		w.datagram = appendRecordHeader(w.datagram, typeHandshake, version12, 0, 0, messageHeader+n) // Flight numbers it
		w.datagram = appendMessageHeader(w.datagram, kind, h.number, len(body), offset, n)
		w.datagram = append(w.datagram, body[offset:offset+n]...)
		if offset += n; offset == len(body) {
			break
		}
	}
	h.number++
}

func (w *flightWriter) datagrams() [][]byte { return append(w.done, w.datagram) }

// Take reads a datagram of the client's last flight. It returns the session when the client has proven that it has the
// keys, and the datagram to send then; until that both are nil. again says that the client repeats its ClientHello. After an
// error, an *Error, the handshake is over.
func (h *Handshake) Take(datagram []byte) (s *Session, answer []byte, again bool, err error) {
	for len(datagram) > 0 {
		r, rest, ok := parseRecord(datagram)
		if !ok {
			break
		}
		datagram = rest
		switch {
		case r.kind == typeHandshake && r.epoch == 0:
			for b := r.body; len(b) > 0; {
				m, more, ok := parseMessage(b)
				if !ok {
					break
				}
				b = more
				switch {
				case m.kind == msgClientHello:
					return nil, nil, h.repeat(m), nil
				case m.kind == msgClientKeyExchange && m.number == h.theirs:
					h.takeKey(m)
				}
			}
		case r.kind == typeHandshake && r.epoch == 1 && h.opened != nil && r.version == version12:
			content, ok := h.opened.open(r)
			if !ok {
				continue // forged, or broken on the way
			}
			m, _, ok := parseMessage(content)
			if !ok || m.kind != msgFinished || m.number != h.theirs+1 {
				return nil, nil, false, errFinished
			}
			return h.finish(m)
		}
	}
	return nil, nil, false, nil
}

// repeat says whether the flight is to be sent again. Who asks has not proven an address this time: it has to know the client's
// random, and is served a few times only.
func (h *Handshake) repeat(m message) bool {
	if h.repeats == 0 || len(m.body) < 2+32 || !bytes.Equal(m.body[2:2+32], h.random[0]) {
		return false
	}
	h.repeats--
	return true
}

// takeKey makes the keys: RFC 8422 §5.7, RFC 7627 §4. Nothing shows yet that a key is the client's: one that is no key is
// dropped, and a later one takes its place until a Finished verifies.
func (h *Handshake) takeKey(m message) {
	if h.keys == 0 || h.master != nil && bytes.Equal(m.whole, h.transcript[h.asked:]) {
		return
	}
	h.keys--
	point, rest, ok := take8(m.body)
	if !ok || len(rest) != 0 {
		return
	}
	public, err := h.private.Curve().NewPublicKey(point) // refuses what is not on the curve
	if err != nil {
		return
	}
	secret, err := h.private.ECDH(public) // refuses zero
	if err != nil {
		return
	}
	h.transcript = append(h.transcript[:h.asked], m.whole...)
	h.master = make([]byte, 48)
	if h.extended {
		prf(h.suite.hash, h.master, secret, "extended master secret", h.hash())
	} else {
		prf(h.suite.hash, h.master, secret, "master secret", h.random[0], h.random[1])
	}
	h.opened = &Session{Protocol: h.protocol, repeats: maxRepeats}
	h.opened.in, h.opened.out = newHalves(h.suite, h.master, h.random[0], h.random[1])
}

func (h *Handshake) hash() []byte { return sum(h.suite.hash, h.transcript) }

func sum(h func() hash.Hash, b []byte) []byte {
	d := h()
	d.Write(b)
	return d.Sum(nil)
}

// finish compares and answers: RFC 5246 §7.4.9.
func (h *Handshake) finish(m message) (*Session, []byte, bool, error) {
	const verifyLen = 12
	want := make([]byte, verifyLen)
	prf(h.suite.hash, want, h.master, "client finished", h.hash())
	if subtle.ConstantTimeCompare(want, m.body) != 1 {
		return nil, nil, false, errFinished
	}
	h.transcript = append(h.transcript, m.whole...)
	ours := make([]byte, verifyLen)
	prf(h.suite.hash, ours, h.master, "server finished", h.hash())
	s := h.opened
	s.finished = append(appendMessageHeader(nil, msgFinished, h.number, verifyLen, 0, verifyLen), ours...)
	s.plain = h.record
	return s, s.Final(nil), false, nil
}
