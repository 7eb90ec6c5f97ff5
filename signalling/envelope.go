package signalling

import (
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"traverse.internal/identity"
)

// The envelope's numbers; docs/protocol/signalling.md has the picture.
const (
	Version = 1 // first byte
	Suite   = 1 // second byte: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305 (RFC 9180 §7)

	headerLen  = 2                           // version, suite
	kemLen     = 32                          // HPKE's encapsulated key
	tagLen     = 16                          // Poly1305
	sigLen     = 64                          // Ed25519
	contentLen = 1 + 32 + 16 + 8 + 32 + 2    // kind, sender, id, expiry, request hash, body length
	insideLen  = sigLen + contentLen         // 155: what is sealed beside the body and the padding
	outsideLen = headerLen + kemLen + tagLen // 50
	overhead   = outsideLen + insideLen      // 205
	MaxBody    = SealedLarge - overhead      // 787: the largest offer, answer or presence record
	smallBody  = SealedSmall - overhead      // 691

	// A sealed message has one of two lengths, so that its length says nothing about what is in it. The small one
	// keeps a DHT node's answer that carries it inside one IPv6 packet; the large one is with its bencoded length 996
	// of the 1,000 bytes a BEP 44 value may have (docs/protocol/signalling.md, Sizes).
	SealedSmall = 896
	SealedLarge = 992
)

// How long messages live, and how wrong clocks may be.
const (
	MaxLife         = 120 * time.Second // a request or an answer: PROTOCOL.md 2
	MaxPresenceLife = 3 * time.Hour     // a presence record: one DHT item's life and the hour's change
	Skew            = 5 * time.Minute   // between the two devices' clocks
)

const (
	signLabel = "traverse signalling signature"
	sealLabel = "traverse signalling seal"
)

// Kind says what a message is for.
type Kind uint8

// The kinds of message.
const (
	Request Kind = 1 // body: the caller's offer
	Answer  Kind = 2 // body: the called device's answer
	Record  Kind = 3 // body: the sender's presence, where it can be asked directly
	Notice  Kind = 4 // body: the same, from a device that is here now; nothing answers it
)

// A RequestID names a request and its answer. It is random.
type RequestID [16]byte

// A Message is what an envelope holds, opened and verified.
type Message struct {
	Kind        Kind
	From        identity.DeviceID
	To          identity.DeviceID
	ID          RequestID
	Expiry      time.Time // whole seconds
	RequestHash [32]byte  // Answer: SHA-256 of the sealed request; else zero
	Body        []byte    // at most MaxBody bytes; after Open a copy of its own
}

// What Open refuses. Every one of them wraps ErrBadMessage.
var (
	ErrBadMessage   = errors.New("signalling: bad message")
	errLength       = fmt.Errorf("%w: neither of the two lengths", ErrBadMessage)
	errVersion      = fmt.Errorf("%w: unknown version or suite", ErrBadMessage)
	errNotForUs     = fmt.Errorf("%w: not sealed to this device", ErrBadMessage)
	errContent      = fmt.Errorf("%w: malformed content", ErrBadMessage)
	errSignature    = fmt.Errorf("%w: signature does not fit", ErrBadMessage)
	errExpired      = fmt.Errorf("%w: expired", ErrBadMessage)
	errTooFarAhead  = fmt.Errorf("%w: expires later than a message may", ErrBadMessage)
	errBodyTooLarge = fmt.Errorf("signalling: body larger than %d bytes", MaxBody)
)

// Seal signs m as from device and seals it to m.To. m.From is ignored, m.Expiry is cut to whole seconds.
func Seal(device *identity.Device, m Message) ([]byte, error) {
	if len(m.Body) > MaxBody {
		return nil, errBodyTooLarge
	}
	m.From = device.ID()
	return sealPlain(m.To, inside(device.Sign, m))
}

// sealPlain seals what is inside to its recipient.
func sealPlain(to identity.DeviceID, plain []byte) ([]byte, error) {
	pub, err := to.X25519()
	if err != nil {
		return nil, fmt.Errorf("signalling: seal: %w", err)
	}
	recipient, err := hpke.NewDHKEMPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("signalling: seal: %w", err)
	}
	sealed, err := hpke.Seal(recipient, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), sealInfo(to), plain)
	if err != nil {
		return nil, fmt.Errorf("signalling: seal: %w", err)
	}
	return append([]byte{Version, Suite}, sealed...), nil
}

// Open opens what was sealed to device and checks the sender's signature. It does not look at the clock (see
// Message.CheckTime), nor at who the sender is: that is for the caller to allow. It never panics and allocates a few
// kilobytes at most, whatever sealed is.
func Open(device *identity.Device, sealed []byte) (Message, error) {
	if len(sealed) != SealedSmall && len(sealed) != SealedLarge {
		return Message{}, errLength
	}
	if sealed[0] != Version || sealed[1] != Suite {
		return Message{}, errVersion
	}
	key, err := hpke.NewDHKEMPrivateKey(device.ECDH())
	if err != nil {
		return Message{}, fmt.Errorf("signalling: open: %w", err)
	}
	plain, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), sealInfo(device.ID()), sealed[headerLen:])
	if err != nil {
		return Message{}, errNotForUs
	}
	m, content, err := parseInside(device.ID(), plain)
	if err != nil {
		return Message{}, err
	}
	if !identity.Verify(m.From, signed(m.To, content), plain[:sigLen]) {
		return Message{}, errSignature
	}
	return m, nil
}

// CheckTime reports whether m may be acted on at now: not expired, and not made to live longer than its kind may.
// Clocks may differ by Skew.
func (m Message) CheckTime(now time.Time) error {
	life := MaxLife
	if m.Kind == Record {
		life = MaxPresenceLife
	}
	if now.After(m.Expiry.Add(Skew)) {
		return errExpired
	}
	if m.Expiry.After(now.Add(life + Skew)) {
		return errTooFarAhead
	}
	return nil
}

// sealInfo is HPKE's info: it binds version, suite and recipient to the sealing.
func sealInfo(to identity.DeviceID) []byte {
	info := append([]byte(sealLabel), Version, Suite)
	return append(info, to[:]...)
}

// signed is what the sender's key signs: the recipient is in it, so that a message cannot be sealed anew to another.
func signed(to identity.DeviceID, content []byte) []byte {
	b := append([]byte(signLabel), Version, Suite)
	b = append(b, to[:]...)
	return append(b, content...)
}

// inside builds signature, content and padding.
func inside(sign func([]byte) []byte, m Message) []byte {
	size := SealedSmall - outsideLen
	if len(m.Body) > smallBody {
		size = SealedLarge - outsideLen
	}
	plain := make([]byte, sigLen, size)
	plain = append(plain, byte(m.Kind))
	plain = append(plain, m.From[:]...)
	plain = append(plain, m.ID[:]...)
	plain = binary.BigEndian.AppendUint64(plain, uint64(m.Expiry.Unix()))
	plain = append(plain, m.RequestHash[:]...)
	plain = binary.BigEndian.AppendUint16(plain, uint16(len(m.Body)))
	plain = append(plain, m.Body...)
	copy(plain, sign(signed(m.To, plain[sigLen:])))
	return plain[:size] // the rest of the fresh slice is zero: the padding
}

// maxExpiry is the largest expiry that is read, 2^40 s (some 34,800 years), so that arithmetic on it cannot overflow.
const maxExpiry = 1 << 40

// parseInside reads what was sealed, 846 or 942 bytes, and returns beside the message the content that is signed. It
// does not verify.
func parseInside(to identity.DeviceID, plain []byte) (m Message, content []byte, err error) {
	content = plain[sigLen:]
	m = Message{To: to, Kind: Kind(content[0])}
	copy(m.From[:], content[1:])
	copy(m.ID[:], content[33:])
	expiry := binary.BigEndian.Uint64(content[49:])
	copy(m.RequestHash[:], content[57:])
	end := contentLen + int(binary.BigEndian.Uint16(content[89:]))
	switch {
	case m.Kind < Request || m.Kind > Notice:
		return Message{}, nil, errContent
	case expiry > maxExpiry:
		return Message{}, nil, errContent
	case m.Kind != Answer && m.RequestHash != [32]byte{}:
		return Message{}, nil, errContent
	case end > len(content):
		return Message{}, nil, errContent
	}
	for _, b := range content[end:] {
		if b != 0 {
			return Message{}, nil, errContent // padding is not signed: it may carry nothing
		}
	}
	m.Expiry = time.Unix(int64(expiry), 0)
	m.Body = append([]byte{}, content[contentLen:end]...)
	return m, content[:end], nil
}
