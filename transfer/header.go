package transfer

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of the text on the wire.
const (
	// MaxHeader bounds the header with its blank line. Our own lines need at most
	// 15+1+19 + 13+2+3·255 + … < 1,000 bytes; the rest is for lines to come.
	MaxHeader = 4096

	maxTrailer = 1024 // 16 + 64 + 2 today
	maxAnswer  = 512  // "NGO ", a word, MaxReason
	maxLines   = 64   // of a header or trailer

	// MaxName bounds a file's name in bytes, as file systems do.
	MaxName = 255

	// MaxReason bounds the text in NGO and BAD; longer ones are cut.
	MaxReason = 200

	// maxSize leaves room to add sizes without overflow.
	maxSize = 1 << 62
)

// digestName is what the one digest of this version is called in the header:
// KangarooTwelve (KT128 of RFC 9861) with an empty customization, 256 bits.
const digestName = "k12-256"

// An Offer is what a sender says about its file.
type Offer struct {
	ID   string // transfer id
	Name string // as the peer calls it: one path element, printable, not yet made safe for a disk
	Size int64  // bytes
}

// header is the sender's first text.
type header struct {
	Offer
	offset int64
	digest string
}

// appendHeader appends h to dst.
func appendHeader(dst []byte, h header) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, h.Size, 10)
	dst = append(dst, "\nDisplay-Name: "...)
	dst = appendPercent(dst, h.Name)
	dst = append(dst, "\nOffset: "...)
	dst = strconv.AppendInt(dst, h.offset, 10)
	dst = append(dst, "\nTransfer-Id: "...)
	dst = append(dst, h.ID...)
	dst = append(dst, "\nDigest-Algorithm: "...)
	dst = append(dst, h.digest...)
	return append(dst, "\n\n"...)
}

// parseHeader reads a header, from its first byte to its blank line and no
// further. Lines it does not know are skipped.
func parseHeader(text []byte) (header, error) {
	if len(text) > MaxHeader {
		return header{}, protocolError("header of %d bytes, at most %d", len(text), MaxHeader)
	}
	h := header{}
	var size, name, id, digest, offset bool
	err := eachLine(text, func(key, value string) error {
		var err error
		switch key {
		case "Content-Length":
			h.Size, err = parseSize(key, value)
			return once(&size, key, err)
		case "Offset":
			h.offset, err = parseSize(key, value)
			return once(&offset, key, err)
		case "Display-Name":
			h.Name, err = parsePercent(value)
			return once(&name, key, err)
		case "Transfer-Id":
			h.ID = value
			if !ValidID(value) {
				err = protocolError("bad Transfer-Id")
			}
			return once(&id, key, err)
		case "Digest-Algorithm":
			h.digest = value
			return once(&digest, key, nil)
		}
		return nil
	})
	switch {
	case err != nil:
		return header{}, err
	case !size:
		return header{}, protocolError("no Content-Length")
	case !name:
		return header{}, protocolError("no Display-Name")
	case !id:
		return header{}, protocolError("no Transfer-Id")
	case !digest:
		return header{}, protocolError("no Digest-Algorithm")
	case h.offset > h.Size:
		return header{}, protocolError("Offset %d is beyond Content-Length %d", h.offset, h.Size)
	}
	return h, nil
}

// appendTrailer appends the text that follows the body.
func appendTrailer(dst []byte, sum Digest) []byte {
	dst = append(dst, "Digest: "...)
	dst = append(dst, sum.String()...)
	return append(dst, "\n\n"...)
}

func parseTrailer(text []byte) (Digest, error) {
	var sum Digest
	var seen bool
	if len(text) > maxTrailer {
		return sum, protocolError("more than %d bytes after the body", maxTrailer)
	}
	err := eachLine(text, func(key, value string) error {
		if key != "Digest" {
			return nil
		}
		return once(&seen, key, sum.parse(value))
	})
	if err == nil && !seen {
		err = protocolError("no Digest after the body")
	}
	return sum, err
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

// once refuses a second line of the same key.
func once(seen *bool, key string, err error) error {
	if *seen {
		return protocolError("%s twice", key)
	}
	*seen = true
	return err
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
