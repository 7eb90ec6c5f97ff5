package framing

import (
	"errors"
	"fmt"
)

// ErrShort says that a buffer ends before the header does: read on and ask again.
var ErrShort = errors.New("framing: header is not complete")

// ProtocolError says that a peer's bytes break the protocol. The session ends with CodeProtocol.
type ProtocolError struct {
	Where string // the message's name, or "header"
	What  string // what is wrong with it
}

func (e *ProtocolError) Error() string { return "framing: " + e.Where + ": " + e.What }

// CriticalError says that a message's sender marked a field critical that we do not know. The session ends with
// CodeUnsupported.
type CriticalError struct {
	Type Type
	Key  uint64
}

func (e *CriticalError) Error() string {
	return fmt.Sprintf("framing: %v: field %d is critical and unknown", e.Type, e.Key)
}

// NameError says that a channel's name is empty, too long, or not UTF-8. As a peer's mistake it costs that channel, a
// RESET with CodeName, and not the session.
type NameError struct {
	Channel ChannelID // 0 when the name has not been on the wire
	What    string
}

func (e *NameError) Error() string { return "framing: channel name " + e.What }
