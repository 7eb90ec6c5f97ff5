package framing

import "strconv"

// Limits of control messages. What a peer sends beyond them is refused.
const (
	MaxName     = 1024    // bytes of a channel's name
	MaxReason   = 256     // bytes of a reason; a longer one is cut when it is sent
	MaxAccounts = 32      // account lists in HELLO: 32 × (1 + 2 + 32 + 9) = 1408 bytes
	MaxFields   = 64      // pairs in a map, elements of an array, unknown ones included
	MaxDepth    = 8       // nesting of an unknown field's value
	MaxOffset   = 1 << 62 // of MAX, MAX_SESSION, ACK and RESUME: sums of two cannot overflow
)

// What a peer takes at least, so what a link's caller may assume before it has seen the peer's HELLO. A HELLO with less
// is malformed.
const (
	MinMaxBody       = FineBody  // bytes of a body
	MinInitialWindow = 256 << 10 // bytes on each channel
	MinSessionWindow = 1 << 20   // bytes on all channels
	MinMaxChannels   = 16        // channels open at a time
)

// Version is the version of the protocol that this package writes.
const Version = 1

// Type is the number of a session message, its field 0.
type Type uint16

// The session messages. Type 0 is not a message of channel 0xffff: it stands for ChannelRequest where a Type is asked
// for.
const (
	TypeRequest    Type = 0
	TypeHello      Type = 1
	TypeMax        Type = 2
	TypeMaxSession Type = 3
	TypeAck        Type = 4
	TypeBeacon     Type = 5
	TypeReset      Type = 6
	TypeGoAway     Type = 7
	TypeResume     Type = 8
)

func (t Type) String() string {
	if int(t) < len(specs) {
		return specs[t].name
	}
	return "type " + strconv.Itoa(int(t))
}

// Message is one control message: *ChannelRequest, which travels on channel 0, or on channel 0xffff *Hello, *Max,
// *MaxSession, *Ack, *Beacon, *Reset, *GoAway, *Resume or *Unknown.
type Message interface {
	// MessageType returns the message's number on the wire, TypeRequest for a ChannelRequest.
	MessageType() Type
}

// ChannelRequest asks for a channel, or answers.
type ChannelRequest struct {
	ID       ChannelID
	Name     string // 1 to MaxName bytes of UTF-8; an answer repeats it
	IsAnswer bool
	Accepted bool   // in an answer
	Reason   string // in a refusal: why, for a human; may be empty
}

// AccountVersion says which version of an account's device list the sender of a HELLO knows.
type AccountVersion struct {
	Account [32]byte // the account's public key
	Version uint64
}

// Hello is the first frame each way of a new session: who speaks, and what the sender takes.
type Hello struct {
	Version       uint16   // highest version spoken, from 1; the lower of the two is used
	SessionID     [16]byte // assigned by the session's offerer, echoed by the answerer
	Capabilities  uint64   // bits; a capability is used when both have it
	MaxBody       uint32   // longest body the sender takes
	InitialWindow uint64   // what each channel may send before the first MAX
	SessionWindow uint64   // what all channels together may send before the first MAX_SESSION
	MaxChannels   uint32   // how many channels the receiver of this HELLO may have open that it opened itself
	AccountLists  []AccountVersion
}

// Max lets the receiver send on a channel up to Offset bytes of body, counted from the channel's start.
type Max struct {
	Channel ChannelID
	Offset  uint64
}

// MaxSession lets the receiver send on all data channels together up to Offset bytes of body, counted from the
// session's start.
type MaxSession struct {
	Offset uint64
}

// Ack says how many bytes, header and body, of whole frames on channels other than 0xffff have arrived since the
// session's start.
type Ack struct {
	Count uint64
}

// Beacon asks whether the peer is alive; with Answer set it is the answer to the one of that Nonce.
type Beacon struct {
	Nonce  uint64
	Answer bool
}

// Reset ends both directions of a channel at once, and is answered by a Reset unless one was sent already.
type Reset struct {
	Channel ChannelID
	Code    Code
	Reason  string // for a human; may be empty
}

// GoAway says that its sender opens and accepts no more channels, or, with a code other than CodeNone, that the session
// is over.
type GoAway struct {
	Code   Code
	Reason string // for a human; may be empty
}

// Resume is the first frame each way on a link that takes over a session.
type Resume struct {
	SessionID [16]byte
	Epoch     uint32   // number of the link, larger than any before; 0 asks the session's offerer to assign it
	Received  uint64   // as in Ack: where the peer starts to send again
	MAC       [32]byte // ResumeMAC of the above
}

// Unknown is a session message of a later version without a critical field: its receiver goes on.
type Unknown struct {
	Type Type
}

// MessageType returns TypeRequest.
func (*ChannelRequest) MessageType() Type { return TypeRequest }

// MessageType returns TypeHello.
func (*Hello) MessageType() Type { return TypeHello }

// MessageType returns TypeMax.
func (*Max) MessageType() Type { return TypeMax }

// MessageType returns TypeMaxSession.
func (*MaxSession) MessageType() Type { return TypeMaxSession }

// MessageType returns TypeAck.
func (*Ack) MessageType() Type { return TypeAck }

// MessageType returns TypeBeacon.
func (*Beacon) MessageType() Type { return TypeBeacon }

// MessageType returns TypeReset.
func (*Reset) MessageType() Type { return TypeReset }

// MessageType returns TypeGoAway.
func (*GoAway) MessageType() Type { return TypeGoAway }

// MessageType returns TypeResume.
func (*Resume) MessageType() Type { return TypeResume }

// MessageType returns the number that is not known.
func (m *Unknown) MessageType() Type { return m.Type }
