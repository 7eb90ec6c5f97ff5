package transferdecode

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Words of section 7 that a decoder has.
const (
	Protocol  = "protocol"
	Name      = "name"
	Version   = "version"
	Integrity = "integrity"
)

// Header is section 2's.
type Header struct {
	Length, Entries, List, Chunk int64
	Name, ID                     string
	Interaction, Note            string
	Selection, ReadBack          bool
}

// ReadHeader reads the text with its blank line.
func ReadHeader(b []byte) (h Header, wrong string) {
	if len(b) > 4096 || len(b) == 0 {
		return h, Protocol
	}
	for _, c := range b {
		if c != '\n' && (c < 0x20 || c > 0x7e) {
			return h, Protocol
		}
	}
	text, ok := strings.CutSuffix(string(b), "\n")
	if !ok || text != "" && !strings.HasSuffix(text, "\n") {
		return h, Protocol
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > 63 {
		return h, Protocol
	}
	have := map[string]string{}
	for _, line := range lines {
		if line == "" && text == "" {
			break // no line at all
		}
		key, value, ok := strings.Cut(line, ": ")
		if _, twice := have[key]; !ok || key == "" || strings.Contains(key, ":") || twice {
			return h, Protocol
		}
		have[key] = value
	}
	if have["Transfer-Version"] != "2" {
		if v, ok := have["Transfer-Version"]; ok && !decimal(v) {
			return h, Protocol
		}
		return h, Version
	}
	for _, f := range []struct {
		key         string
		to          *int64
		least, most int64
	}{
		{"Content-Length", &h.Length, 0, 1 << 62},
		{"Entries", &h.Entries, 1, 131072},
		{"Manifest-Length", &h.List, 0, 16777216},
		{"Chunk-Length", &h.Chunk, 65536, 67108864},
	} {
		if !decimal(have[f.key]) {
			return h, Protocol
		}
		n, err := strconv.ParseInt(have[f.key], 10, 64)
		if *f.to = n; err != nil || n < f.least || n > f.most {
			return h, Protocol
		}
	}
	if h.Chunk&(h.Chunk-1) != 0 || have["Digest-Algorithm"] != "k12-256-chunks" || !ID(have["Transfer-Id"]) {
		return h, Protocol
	}
	h.ID = have["Transfer-Id"]
	if of, there := have["Interaction"]; there {
		if !ID(of) {
			return h, Protocol
		}
		h.Interaction = of
	}
	h.Selection, h.ReadBack = have["Selection"] == "yes", have["Read-Back"] == "yes"
	if note, there := have["Note"]; there {
		text, ok := unescape(note)
		if !ok || len(text) > 500 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return h, Protocol
		}
		h.Note = text
	}
	name, ok := unescape(have["Display-Name"])
	if _, there := have["Display-Name"]; !ok || !there {
		return h, Protocol
	}
	h.Name = name
	return h, ""
}

// decimal: no sign, no leading zero.
func decimal(s string) bool {
	if s == "" || len(s) > 1 && s[0] == '0' {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}

// ID tells whether s is a transfer id.
func ID(s string) bool {
	return len(s) == 28 && strings.HasPrefix(s, "t-") && strings.Trim(s[2:], "abcdefghijklmnopqrstuvwxyz234567") == ""
}

func unescape(s string) (string, bool) {
	var out []byte
	for s != "" {
		if s[0] != '%' {
			out, s = append(out, s[0]), s[1:]
			continue
		}
		if len(s) < 3 {
			return "", false
		}
		n, err := strconv.ParseUint(s[1:3], 16, 8)
		if err != nil {
			return "", false
		}
		out, s = append(out, byte(n)), s[3:]
	}
	return string(out), utf8.Valid(out)
}

// CheckName is section 2.1's for one name.
func CheckName(s string) (wrong string) {
	if len(s) < 1 || len(s) > 255 || s == "." || s == ".." || !utf8.ValidString(s) || strings.Contains(s, "/") || strings.ContainsFunc(s, unicode.IsControl) {
		return Name
	}
	return ""
}

// Answer is a line of section 4 or 6.
type Answer struct {
	Verb        string
	Map, Again  int64
	Word, Human string
	Without     int64
}

// ReadAnswer reads a line with its end.
func ReadAnswer(b []byte) (a Answer, wrong string) {
	line, ok := strings.CutSuffix(string(b), "\n")
	if !ok || len(b) > 512 {
		return a, Protocol
	}
	words := strings.SplitN(line, " ", 3)
	switch a.Verb = words[0]; a.Verb {
	case "OK":
		return a, ""
	case "NGO", "BAD":
		if len(words) > 1 {
			a.Word = words[1]
		}
		if len(words) > 2 {
			a.Human = words[2]
		}
		return a, ""
	case "GO":
		if len(words) < 3 {
			return a, Protocol
		}
		count, more, _ := strings.Cut(words[2], " ")
		for _, word := range strings.Split(more, " ") {
			length, ok := strings.CutPrefix(word, "without=")
			if !ok {
				continue
			}
			n, err := strconv.ParseInt(length, 10, 64)
			if !decimal(length) || err != nil || n < 1 || n > 2<<20 || a.Without != 0 {
				return a, Protocol
			}
			a.Without = n
		}
		if !decimal(words[1]) || !decimal(count) {
			return a, Protocol
		}
		var errs [2]error
		a.Map, errs[0] = strconv.ParseInt(words[1], 10, 64)
		a.Again, errs[1] = strconv.ParseInt(count, 10, 64)
		if errs[0] != nil || errs[1] != nil || a.Map > 2<<20 || a.Again > 1<<62 {
			return a, Protocol
		}
		return a, ""
	}
	return a, Protocol
}
