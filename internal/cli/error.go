package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
)

// Error is an error as a user meets it: what happened, why, and what to try. It travels as JSON from the daemon to
// the command unchanged.
type Error struct {
	Code    string   `json:"code"`
	Exit    int      `json:"exit"`
	Message string   `json:"message"`
	Why     []string `json:"why,omitempty"`
	Try     []string `json:"try,omitempty"`
	Docs    string   `json:"docs,omitempty"`
}

func (e *Error) Error() string {
	if len(e.Why) == 0 {
		return e.Message
	}
	return e.Message + ": " + strings.Join(e.Why, "; ")
}

// Errorf makes an Error of a code from Codes.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Exit: ExitOf(code), Message: fmt.Sprintf(format, args...), Docs: "node help " + code}
}

// Because adds a cause and returns the error. A cause may have a peer's words in it, so it becomes one line that does nothing to a terminal.
func (e *Error) Because(err error) *Error {
	if err != nil {
		e.Why = append(e.Why, OneLine(err.Error()))
	}
	return e
}

// OneLine makes one harmless line of a text: it replaces line ends, which join errors, and what a terminal would obey: escapes, and marks that turn the writing around.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ReplaceAll(s, "\n", "; "))
}

// Hint adds something to try and returns the error.
func (e *Error) Hint(format string, args ...any) *Error {
	e.Try = append(e.Try, fmt.Sprintf(format, args...))
	return e
}

// Report prints an error, three lines for people on stderr or one JSON object on stdout, and returns the exit code. Nil is success.
// The word error is red where stderr is Painted.
// An Error without a message has been told already, in the command's own object: it is only an exit code.
func Report(stdout, stderr io.Writer, err error, asJSON bool) int {
	if err == nil {
		return ExitOK
	}
	var e *Error
	if !errors.As(err, &e) {
		e = Errorf("E_UNEXPECTED", "%v", err)
	}
	if e.Message == "" {
		return e.Exit
	}
	if asJSON {
		_ = json.NewEncoder(stdout).Encode(struct {
			Error *Error `json:"error"`
		}{e})
		return e.Exit
	}
	fmt.Fprintf(stderr, "%s %s\n", Paint(stderr, Bad, "error:"), e.Message)
	for _, why := range e.Why {
		fmt.Fprintf(stderr, "why:   %s\n", why)
	}
	for _, try := range e.Try {
		fmt.Fprintf(stderr, "try:   %s\n", try)
	}
	return e.Exit
}

// Envelope starts every JSON object a command prints.
type Envelope struct {
	Schema string `json:"schema"`
	Kind   string `json:"kind"`
}

// Renamed is text with the program's name, where one of its commands follows, replaced by the name it is installed as. In
// the repository the peer endpoint is node; on a system that name is somebody else's.
func Renamed(text, from, to string, commands []string) string {
	if from == to {
		return text
	}
	names := make([]string, len(commands))
	for i, c := range commands {
		names[i] = regexp.QuoteMeta(c)
	}
	called := regexp.MustCompile(`\b` + regexp.QuoteMeta(from) + ` (` + strings.Join(names, "|") + `|-)`)
	return called.ReplaceAllString(text, to+" $1")
}

// Renamed is e with its advice as the function Renamed has it.
func (e *Error) Renamed(from, to string, commands []string) *Error {
	other := *e
	other.Try = make([]string, len(e.Try))
	for i, line := range e.Try {
		other.Try[i] = Renamed(line, from, to, commands)
	}
	other.Docs = Renamed(e.Docs, from, to, commands)
	return &other
}
