package cli

import (
	"fmt"
	"io"
)

// Painted is a writer to where colours are seen.
type Painted struct{ io.Writer }

// Colour is how a word stands out, as a terminal numbers it.
type Colour int

// Few: what is well, what is to be looked at, and what is broken.
const (
	Plain  Colour = 39
	Good   Colour = 32
	Notice Colour = 33
	Bad    Colour = 31
)

// Paint returns the text in a colour where w is Painted, else as it is. Every colour, Plain too, takes as many bytes, so that painted columns stay aligned.
func Paint(w io.Writer, c Colour, text string) string {
	if _, ok := w.(Painted); !ok {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c, text)
}
