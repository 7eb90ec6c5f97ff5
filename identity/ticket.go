package identity

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// TicketKind says what a ticket is for.
type TicketKind uint8

// The kinds of ticket.
const (
	TicketContact TicketKind = 1 // to become each other's contact
	TicketDevice  TicketKind = 2 // to become a device of the account
)

// A Ticket invites one device, once, until it expires. Its secret makes a device that lives for the invitation only, the guest: whoever has the ticket calls
// the inviter as the guest, so that all of signalling is as between contacts, and nobody else can find, read or pin the slots it goes by.
// docs/protocol/account.md has the bytes.
type Ticket struct {
	Kind    TicketKind
	Inviter DeviceID
	Secret  [16]byte
	Expires time.Time // whole seconds
}

const (
	ticketPrefix  = "TRV1"
	ticketBytes   = 1 + 32 + 16 + 8 + 4          // kind, inviter, secret, expiry, check
	maxTicketText = 4 * (len(ticketPrefix) + 98) // with hyphens and spaces between
	guestInfo     = "traverse guest 1"
)

// ErrTicket is text that is no ticket.
var ErrTicket = errors.New("identity: not a ticket")

var ticketText = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewTicket makes a ticket of the inviter's.
func NewTicket(kind TicketKind, inviter DeviceID, expires time.Time) Ticket {
	t := Ticket{Kind: kind, Inviter: inviter, Expires: time.Unix(expires.Unix(), 0).UTC()}
	_, _ = rand.Read(t.Secret[:]) // never fails
	return t
}

// String returns the ticket as people pass it on: letters and digits only, all of which a QR code packs well.
func (t Ticket) String() string {
	b := make([]byte, 0, ticketBytes)
	b = append(b, byte(t.Kind))
	b = append(b, t.Inviter[:]...)
	b = append(b, t.Secret[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Expires.Unix()))
	b = append(b, ticketCheck(b)...)
	return ticketPrefix + ticketText.EncodeToString(b)
}

// ticketCheck finds mistyped tickets.
func ticketCheck(b []byte) []byte {
	sum := sha3.Sum256(append([]byte("traverse ticket 1\n"), b...))
	return sum[:4]
}

// ParseTicket reads what String writes; case, spaces and hyphens are ignored. Its errors are ErrTicket, wrapped.
func ParseTicket(s string) (Ticket, error) {
	if len(s) > maxTicketText {
		return Ticket{}, fmt.Errorf("%w: %d characters", ErrTicket, len(s))
	}
	s = strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '\n' || r == '\r' || r == '\t' {
			return -1
		}
		return r
	}, s)
	rest, ok := strings.CutPrefix(strings.ToUpper(s), ticketPrefix)
	if !ok {
		return Ticket{}, fmt.Errorf("%w: it does not begin with %s", ErrTicket, ticketPrefix)
	}
	b, err := ticketText.DecodeString(rest)
	if err != nil || len(b) != ticketBytes || ticketText.EncodeToString(b) != rest {
		return Ticket{}, fmt.Errorf("%w: cut short or mistyped", ErrTicket)
	}
	body := b[:ticketBytes-4]
	if string(ticketCheck(body)) != string(b[len(body):]) {
		return Ticket{}, fmt.Errorf("%w: mistyped", ErrTicket)
	}
	t := Ticket{Kind: TicketKind(b[0]), Inviter: DeviceID(b[1:33]), Secret: [16]byte(b[33:49])}
	expires := binary.BigEndian.Uint64(b[49:])
	if _, err := t.Inviter.point(); err != nil || expires > maxUnix || t.Kind != TicketContact && t.Kind != TicketDevice {
		return Ticket{}, fmt.Errorf("%w: of a kind that is not known here", ErrTicket)
	}
	t.Expires = time.Unix(int64(expires), 0).UTC()
	return t, nil
}

// Guest returns the device that calls the inviter for whoever has the ticket.
func (t Ticket) Guest() (*Device, error) {
	seed, err := hkdf.Key(sha256.New, t.Secret[:], nil, guestInfo+string(t.Inviter[:]), ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("identity: guest: %w", err)
	}
	key := ed25519.NewKeyFromSeed(seed)
	der, err := selfSign(key)
	if err != nil {
		return nil, err
	}
	return newDevice(key, der)
}

const joinLabel = "traverse join 1\n"

// JoinProof is the signature by which a device says that it answers the invitation itself.
func (d *Device) JoinProof(inviter, guest DeviceID) []byte {
	return d.Sign(joinText(inviter, guest, d.id))
}

// CheckJoin reports whether the proof is the device's.
func CheckJoin(proof []byte, inviter, guest, device DeviceID) bool {
	return Verify(device, joinText(inviter, guest, device), proof)
}

func joinText(inviter, guest, device DeviceID) []byte {
	b := append([]byte(joinLabel), inviter[:]...)
	return append(append(b, guest[:]...), device[:]...)
}
