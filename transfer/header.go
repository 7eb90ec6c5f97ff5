package transfer

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of the text on the wire.
const (
	// MaxHeader bounds the header with its blank line. Our own lines need at most
	// 15+1+19 + 13+2+3·255 + … < 1,000 bytes; the rest is for lines to come.
	MaxHeader = 4096

	maxAnswer = 512 // "NGO ", a word, MaxReason
	maxLines  = 64  // of a header or trailer

	// MaxName bounds a file's name in bytes, as file systems do.
	MaxName = 255

	// MaxReason bounds the text in NGO and BAD; longer ones are cut.
	MaxReason = 200

	// MaxNote bounds a sender's note in bytes; %XX makes three of each at most: 1,500 of a header's 4,096.
	MaxNote = 500

	// maxSize leaves room to add sizes without overflow.
	maxSize = 1 << 62
)

// wireVersion is the version of docs/protocol/transfer.md. Another one is refused with the word version.
const wireVersion = 2

// digestName is what the digests of this version are called in the header: KangarooTwelve (KT128 of RFC 9861), 256 bits, of each chunk
// and over all of them. Version 1 said k12-256, so each refuses the other's offers.
const digestName = "k12-256-chunks"

// An Offer is what a sender says about what it sends.
type Offer struct {
	ID      string // transfer id
	Name    string // of the first file or folder, as the peer calls it: one path element, printable, not yet made safe for a disk
	Size    int64  // bytes of all files
	Entries int    // files, folders and links

	// Interaction is what the sender calls it where it went to several devices, or was announced before: another transfer id. Empty: it is this one's.
	Interaction string

	Note string // the sender's words to whoever decides; printable, may be empty

	selects  bool // the sender can be told what of it is not wanted
	readBack bool // the sender wants it read from the disk again
}

// header is the sender's first text; the list of entries follows it.
type header struct {
	Offer
	version  int64
	manifest int64 // bytes of the list
	chunkLen int64
	digest   string
}

// appendHeader appends h to dst.
func appendHeader(dst []byte, h header) []byte {
	number := func(key string, n int64) {
		dst = append(append(dst, key...), ": "...)
		dst = append(strconv.AppendInt(dst, n, 10), '\n')
	}
	number("Transfer-Version", h.version)
	number("Content-Length", h.Size)
	dst = append(dst, "Display-Name: "...)
	dst = append(appendPercent(dst, h.Name), '\n')
	dst = append(dst, "Transfer-Id: "...)
	dst = append(append(dst, h.ID...), '\n')
	number("Entries", int64(h.Entries))
	number("Manifest-Length", h.manifest)
	number("Chunk-Length", h.chunkLen)
	dst = append(dst, "Digest-Algorithm: "...)
	dst = append(dst, h.digest...)
	if h.Interaction != "" {
		dst = append(dst, "\nInteraction: "...)
		dst = append(dst, h.Interaction...)
	}
	if h.Note != "" {
		dst = append(dst, "\nNote: "...)
		dst = appendPercent(dst, h.Note)
	}
	if h.selects {
		dst = append(dst, "\nSelection: yes"...)
	}
	if h.readBack {
		dst = append(dst, "\nRead-Back: yes"...)
	}
	return append(dst, "\n\n"...)
}

// parseHeader reads a header, from its first byte to its blank line and no
// further. Lines it does not know are skipped. Of another version it says only that.
func parseHeader(text []byte) (header, error) {
	if len(text) > MaxHeader {
		return header{}, protocolError("header of %d bytes, at most %d", len(text), MaxHeader)
	}
	h := header{version: 1}
	var entries int64
	numbers := map[string]*int64{
		"Transfer-Version": &h.version, "Content-Length": &h.Size, "Entries": &entries,
		"Manifest-Length": &h.manifest, "Chunk-Length": &h.chunkLen,
	}
	seen := map[string]bool{}
	err := eachLine(text, func(key, value string) (err error) {
		number := numbers[key]
		switch {
		case number != nil:
			*number, err = parseSize(key, value)
		case key == "Display-Name":
			h.Name, err = parsePercent(value)
		case key == "Transfer-Id":
			h.ID = value
			if !ValidID(value) {
				err = protocolError("bad Transfer-Id")
			}
		case key == "Interaction":
			h.Interaction = value
			if !ValidID(value) {
				err = protocolError("bad Interaction")
			}
		case key == "Note":
			if h.Note, err = parsePercent(value); err == nil && CheckNote(h.Note) != nil {
				err = protocolError("bad Note")
			}
		case key == "Selection":
			h.selects = value == "yes"
		case key == "Read-Back":
			h.readBack = value == "yes"
		case key == "Digest-Algorithm":
			h.digest = value
		default:
			return nil
		}
		if seen[key] {
			return protocolError("%s twice", key)
		}
		seen[key] = true
		return err
	})
	switch {
	case err != nil:
		return header{}, err
	case h.version != wireVersion:
		return header{}, &Error{Kind: ErrVersion, By: Local, Detail: "version " + strconv.FormatInt(h.version, 10)}
	}
	for _, key := range headerKeys {
		if !seen[key] {
			return header{}, protocolError("no %s", key)
		}
	}
	if entries < 1 || entries > MaxEntries || h.manifest > MaxManifest {
		return header{}, protocolError("%d entries in %d bytes", entries, h.manifest)
	}
	h.Entries = int(entries)
	return h, nil
}

// CheckNote says what keeps a text from being a note: it is one line of people's words.
func CheckNote(note string) error {
	switch {
	case len(note) > MaxNote:
		return &Error{Kind: ErrSource, By: Local, Detail: fmt.Sprintf("a note of %d bytes, at most %d fit", len(note), MaxNote)}
	case !utf8.ValidString(note), strings.ContainsFunc(note, func(r rune) bool { return !unicode.IsPrint(r) && r != ' ' }):
		return &Error{Kind: ErrSource, By: Local, Detail: "a note of other characters than printable ones"}
	}
	return nil
}

// headerKeys are those that every header has.
var headerKeys = [...]string{
	"Transfer-Version", "Content-Length", "Display-Name", "Transfer-Id", "Entries", "Manifest-Length", "Chunk-Length", "Digest-Algorithm",
}

// eachLine calls line for every "Key: value" of text, which must end, and end
// only, with a blank line.
func eachLine(text []byte, line func(key, value string) error) error {
	for range maxLines {
		row, rest, ok := bytes.Cut(text, []byte{'\n'})
		if !ok {
			return protocolError("line without end")
		}
		if len(row) == 0 {
			if len(rest) > 0 {
				return protocolError("%d bytes after the blank line", len(rest))
			}
			return nil
		}
		if err := checkText(row); err != nil {
			return err
		}
		key, value, ok := strings.Cut(string(row), ": ")
		if !ok {
			return protocolError("line without a colon and a space")
		}
		if err := line(key, value); err != nil {
			return err
		}
		text = rest
	}
	return protocolError("more than %d lines", maxLines)
}

// checkText refuses what is neither printable ASCII nor the end of a line.
func checkText(b []byte) error {
	for _, c := range b {
		if (c < 0x20 || c > 0x7e) && c != '\n' {
			return protocolError("byte 0x%02x in a line of text", c)
		}
	}
	return nil
}

// parseSize reads what strconv.AppendInt writes for a number that is not negative:
// no sign, no leading zero.
func parseSize(key, value string) (int64, error) {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil || n > maxSize || strconv.FormatUint(n, 10) != value {
		return 0, protocolError("bad %s", key)
	}
	return int64(n), nil
}

const hexDigits = "0123456789ABCDEF"

// appendPercent writes every byte of s outside 0x21 to 0x7e, and %, as %XX.
func appendPercent(dst []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c <= 0x20 || c >= 0x7f || c == '%' {
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

func parsePercent(s string) (string, error) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", protocolError("bad escape in Display-Name")
			}
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi < 0 || lo < 0 {
				return "", protocolError("bad escape in Display-Name")
			}
			c = byte(hi<<4 | lo)
			i += 2
		}
		out = append(out, c)
	}
	if !utf8.Valid(out) {
		return "", protocolError("Display-Name is not UTF-8")
	}
	return string(out), nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
