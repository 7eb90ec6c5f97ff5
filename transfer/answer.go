package transfer

import (
	"strconv"
	"strings"
)

// The receiver's two lines. The first is GO or NGO, or OK when all of it is here already; the second, after the body,
// OK or BAD. Behind the line of GO come the bytes of a map. A word from the table in errors.go says why not; text for people may
// follow it.
type answer struct {
	verb  string // GO, NGO, OK, BAD
	have  int64  // of GO: bytes of the map behind it
	again int64  // of GO: bytes that have come before and are of no use
	word  string // of NGO and BAD
	text  string // of NGO and BAD; may be empty

	without int64 // of GO: bytes of a second map, behind the first, of what is not wanted
}

func appendAnswer(dst []byte, a answer) []byte {
	dst = append(dst, a.verb...)
	switch a.verb {
	case "GO":
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, a.have, 10)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, a.again, 10)
		if a.without > 0 {
			dst = append(dst, withoutWord...)
			dst = strconv.AppendInt(dst, a.without, 10)
		}
	case "NGO", "BAD":
		dst = append(dst, ' ')
		dst = append(dst, a.word...)
		if a.text != "" {
			dst = append(dst, ' ')
			dst = append(dst, a.text...)
		}
	}
	return append(dst, '\n')
}

// parseAnswer reads one line with its newline.
func parseAnswer(line []byte) (answer, error) {
	s, ok := strings.CutSuffix(string(line), "\n")
	if !ok || len(line) > maxAnswer {
		return answer{}, protocolError("answer without end")
	}
	verb, rest, _ := strings.Cut(s, " ")
	a := answer{verb: verb}
	switch verb {
	case "GO":
		number, rest, _ := strings.Cut(rest, " ")
		n, err := parseSize("length in GO", number)
		if err == nil && n > maxHave {
			err = protocolError("a map of %d bytes", n)
		}
		if err != nil {
			return answer{}, err
		}
		number, rest, more := strings.Cut(rest, " ")
		a.have = n
		if a.again, err = parseSize("count in GO", number); err != nil || !more {
			return a, err
		}
		return a, a.parseWords(rest)
	case "NGO", "BAD":
		a.word, a.text, _ = strings.Cut(rest, " ")
		a.word = printable(a.word, MaxReason)
		a.text = printable(a.text, MaxReason)
		return a, nil
	case "OK":
		return a, nil
	}
	return answer{}, protocolError("answer %q", printable(s, 40))
}

// withoutWord is in front of the length of the second map.
const withoutWord = " without="

// parseWords reads the words behind the numbers of GO. Those that are not known belong to features that the header would have had to ask for.
func (a *answer) parseWords(words string) (err error) {
	for word := range strings.SplitSeq(words, " ") {
		length, ok := strings.CutPrefix(word, withoutWord[1:])
		if !ok {
			continue
		}
		if a.without != 0 {
			return protocolError("two maps of what is not wanted")
		}
		if a.without, err = parseSize("length in GO", length); err == nil && (a.without > maxHave || a.without == 0) {
			err = protocolError("a map of %d bytes", a.without)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refusal is the error an NGO or BAD means to the sender.
func (a answer) refusal() *Error {
	other := ErrDeclined
	if a.verb == "BAD" {
		other = ErrStorage
	}
	detail := a.text
	if detail == "" {
		detail = a.word
	}
	return &Error{Kind: kindOfWord(a.word, other), By: Remote, Detail: detail, orderly: true}
}

// printable makes text fit for one line and a terminal: control and non-ASCII
// bytes become '?', and what exceeds limit is cut.
func printable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
}
