package framing

import (
	"strconv"
	"unicode/utf8"
)

// Field keys that every session message has or may have.
const (
	keyType     = 0 // the message's Type; first
	keyCritical = 1 // array of the keys that must be understood
)

// spec lists a session message's keys, as bits.
type spec struct {
	name            string
	known, required uint64
}

// keys returns the bits of keys from 0 to last, without keyCritical.
func keys(last int) uint64 { return (1<<(last+1) - 1) &^ (1 << keyCritical) }

// specs is the field table of docs/protocol/mux.md: the required keys, and all.
var specs = [...]spec{
	TypeRequest:    {name: "ChannelRequest"},
	TypeHello:      {"HELLO", keys(9) | 1<<keyCritical, keys(8)},
	TypeMax:        {"MAX", keys(3) | 1<<keyCritical, keys(3)},
	TypeMaxSession: {"MAX_SESSION", keys(2) | 1<<keyCritical, keys(2)},
	TypeAck:        {"ACK", keys(2) | 1<<keyCritical, keys(2)},
	TypeBeacon:     {"BEACON", keys(3) | 1<<keyCritical, keys(3)},
	TypeReset:      {"RESET", keys(4) | 1<<keyCritical, keys(3)},
	TypeGoAway:     {"GOAWAY", keys(3) | 1<<keyCritical, keys(2)},
	TypeResume:     {"RESUME", keys(5) | 1<<keyCritical, keys(5)},
}

// CheckName returns a *NameError when name cannot be a channel's.
func CheckName(name string) error {
	switch {
	case name == "":
		return &NameError{What: "is empty"}
	case len(name) > MaxName:
		return &NameError{What: "is longer than " + strconv.Itoa(MaxName) + " bytes"}
	case !utf8.ValidString(name):
		return &NameError{What: "is not UTF-8"}
	}
	return nil
}

// check returns the first rule of the protocol that a HELLO breaks, and "" when there is none.
func (m *Hello) check() string {
	switch {
	case m.Version == 0:
		return "version 0"
	case m.MaxBody < MinMaxBody:
		return "largest body under 16380"
	case m.InitialWindow < MinInitialWindow:
		return "initial window under 256 KiB"
	case m.SessionWindow < MinSessionWindow:
		return "session window under 1 MiB"
	case m.InitialWindow > MaxOffset || m.SessionWindow > MaxOffset:
		return "window beyond 2^62"
	case m.MaxChannels < MinMaxChannels:
		return "fewer than 16 channels"
	case len(m.AccountLists) > MaxAccounts:
		return "more than 32 account lists"
	}
	return ""
}

// checkChannel is check for a message about one data channel.
func checkChannel(c ChannelID) string {
	if !c.IsData() {
		return "not a data channel"
	}
	return ""
}

// checkOffset is check for a message with a count of bytes.
func checkOffset(n uint64) string {
	if n > MaxOffset {
		return "count beyond 2^62"
	}
	return ""
}
