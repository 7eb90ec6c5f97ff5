package transfer

import (
	"errors"
	"fmt"
	"strings"
)

// How a transfer can end when it does not end well. Every error of this package,
// but for [ErrAnswered], is an [*Error] that wraps one of them.
var (
	ErrDeclined    = errors.New("declined")
	ErrCancelled   = errors.New("cancelled")
	ErrIntegrity   = errors.New("content does not match its digest")
	ErrNoSpace     = errors.New("not enough space")
	ErrStorage     = errors.New("file cannot be stored")
	ErrSource      = errors.New("file cannot be sent")
	ErrChanged     = errors.New("file changed while it was sent")
	ErrName        = errors.New("file name not allowed")
	ErrProtocol    = errors.New("protocol violation")
	ErrPaused      = errors.New("paused")
	ErrVersion     = errors.New("another version of the transfer protocol")
	ErrBusy        = errors.New("busy")
	ErrInterrupted = errors.New("interrupted")
)

// ErrAnswered is what a second answer to one offer gets.
var ErrAnswered = errors.New("transfer: the offer has been answered")

// kinds gives every end its code in a reset and its word in NGO, BAD and the
// metrics. Codes below 0x100 are the mux's own; where one of them means the same it
// is understood too, and never sent. docs/protocol/transfer.md has the same table.
var kinds = [...]struct {
	kind error
	code uint16
	word string
	mux  uint16 // the mux's code of the same meaning, or 0
}{
	{ErrCancelled, 0x0101, "cancelled", 1},
	{ErrDeclined, 0x0102, "declined", 2},
	{ErrChanged, 0x0103, "changed", 10},
	{ErrSource, 0x0104, "source", 0},
	{ErrNoSpace, 0x0105, "no-space", 0},
	{ErrStorage, 0x0106, "storage", 0},
	{ErrName, 0x0107, "name", 0},
	{ErrIntegrity, 0x0108, "integrity", 0},
	{ErrProtocol, 0x0109, "protocol", 5},
	{ErrPaused, 0x010b, "paused", 0},
	{ErrVersion, 0x010c, "version", 0},
	{ErrBusy, 0x010d, "busy", 0},
	{ErrInterrupted, 0x010a, "interrupted", 0},
}

// CodeCancelled resets a channel that was opened only to say that its transfer is cancelled.
const CodeCancelled = 0x0101

// Side says who ended a transfer.
type Side uint8

// The two sides, as seen from here.
const (
	Local Side = iota
	Remote
)

func (s Side) String() string {
	if s == Remote {
		return "peer"
	}
	return "this side"
}

// Error says how a transfer failed, who said so, and what they said.
type Error struct {
	Kind   error  // one of the sentinels above
	By     Side   // who found it
	Detail string // printable; the peer's words when By is Remote and it sent any
	Cause  error  // what the system said; may be nil

	orderly bool // the peer said it in a line, so the stream needs no reset
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("transfer: ")
	b.WriteString(e.Kind.Error())
	switch {
	case e.By == Local:
	case e.Kind == ErrDeclined || e.Kind == ErrCancelled || e.Kind == ErrPaused:
		b.WriteString(" by the peer")
	default:
		b.WriteString(" at the peer")
	}
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	if e.Cause != nil {
		b.WriteString(": ")
		b.WriteString(e.Cause.Error())
	}
	return b.String()
}

// Unwrap lets errors.Is find both the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// Outcome is the one word for how a transfer ended: "done" for nil, else one of
// cancelled, declined, changed, source, no-space, storage, name, integrity,
// protocol, paused, version, busy, interrupted. Both sides of one transfer get the same word. The set is
// closed, so that it can be a metric's label.
func Outcome(err error) string {
	if err == nil {
		return "done"
	}
	return wordOf(err)
}

func indexOf(err error) int {
	for i := range kinds {
		if errors.Is(err, kinds[i].kind) {
			return i
		}
	}
	return len(kinds) - 1
}

func codeOf(err error) uint16 { return kinds[indexOf(err)].code }

func wordOf(err error) string { return kinds[indexOf(err)].word }

// kindOfCode reads a reset. A code from another table is an interruption.
func kindOfCode(code uint16) error {
	for _, k := range kinds {
		if code != 0 && (code == k.code || code == k.mux) {
			return k.kind
		}
	}
	return ErrInterrupted
}

// kindOfWord reads a word of NGO or BAD; other is what an unknown word means.
func kindOfWord(word string, other error) error {
	for _, k := range kinds {
		if k.word == word {
			return k.kind
		}
	}
	return other
}

func protocolError(format string, args ...any) *Error {
	return &Error{Kind: ErrProtocol, By: Local, Detail: fmt.Sprintf(format, args...)}
}
