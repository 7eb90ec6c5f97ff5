package reason_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"traverse.internal/core/reason"
)

// coded is an error that knows its reason, and may wrap another.
type coded struct {
	code  reason.Code
	cause error
}

func (e coded) Error() string       { return "coded" }
func (e coded) Reason() reason.Code { return e.code }
func (e coded) Unwrap() error       { return e.cause }

func TestOf(t *testing.T) {
	auth := coded{code: reason.RelayAuth}
	for _, c := range []struct {
		name string
		err  error
		want reason.Code
	}{
		{"nil", nil, ""},
		{"no reason anywhere", fmt.Errorf("a: %w", io.EOF), ""},
		{"itself", auth, reason.RelayAuth},
		{"wrapped", fmt.Errorf("a: %w", fmt.Errorf("b: %w", auth)), reason.RelayAuth},
		{"the outer one wins", coded{reason.NoPath, auth}, reason.NoPath},
		{"an empty one does not hide the inner", coded{"", auth}, reason.RelayAuth},
		{"joined, the first that has one", errors.Join(io.EOF, fmt.Errorf("a: %w", auth), coded{code: reason.NoPath}), reason.RelayAuth},
		{"joined, none", errors.Join(io.EOF, io.ErrUnexpectedEOF), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := reason.Of(c.err); got != c.want {
				t.Errorf("Of(%v) = %q, want %q", c.err, got, c.want)
			}
		})
	}
}

func ExampleOf() {
	err := fmt.Errorf("connect phone: %w", coded{code: reason.PeerSilent})
	fmt.Println(reason.Of(err))
	// Output: PEER_SILENT
}
