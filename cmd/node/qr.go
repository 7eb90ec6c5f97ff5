package main

import (
	"fmt"
	"io"
	"strings"

	"rsc.io/qr"

	"traverse.internal/internal/cli"
)

// quiet is the margin that a QR code has on each side, in modules (ISO/IEC 18004).
const quiet = 4

// printQR writes a QR code with two modules a character, dark on light whatever the terminal's colours are.
func printQR(w io.Writer, text string) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return // longer than a code holds: the text itself follows
	}
	for y := -quiet; y < code.Size+quiet; y += 2 {
		var line strings.Builder
		for x := -quiet; x < code.Size+quiet; x++ {
			top, bottom := code.Black(x, y), code.Black(x, y+1)
			switch {
			case top && bottom:
				line.WriteString(" ")
			case top:
				line.WriteString("▄")
			case bottom:
				line.WriteString("▀")
			default:
				line.WriteString("█")
			}
		}
		fmt.Fprintln(w, line.String())
	}
}

// pixels is how many of them a module has on each side in a picture: 45 modules and the margin are 424 pixels then.
const pixels = 8

// writePNG writes a QR code as a picture. A ticket is a secret, so that only the owner reads it, and nothing is replaced.
func writePNG(path, text string) error {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return cli.Errorf("E_USAGE", "the text does not fit into a QR code").Because(err)
	}
	code.Scale = pixels
	if err := writePrivate(path, code.PNG()); err != nil {
		return cli.Errorf("E_LOCAL_IO", "cannot write the picture").Because(err).Hint("name another file: --png FILE")
	}
	return nil
}
