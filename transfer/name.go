package transfer

import (
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckName says what keeps a text from being the name that something is offered under.
func CheckName(name string) error { return checkName(name) }

// checkName refuses a peer's name that no honest sender writes: one with a path
// in it, a control character, or nothing.
func checkName(name string) error {
	detail := ""
	switch {
	case name == "":
		detail = "empty"
	case len(name) > MaxName:
		detail = "longer than 255 bytes"
	case name == "." || name == "..":
		detail = "a directory"
	case strings.ContainsRune(name, '/'):
		detail = "a path"
	case !utf8.ValidString(name):
		detail = "not UTF-8"
	case strings.ContainsFunc(name, unicode.IsControl):
		detail = "control characters"
	default:
		return nil
	}
	return &Error{Kind: ErrName, By: Local, Detail: detail}
}

// offerName is the name a sender offers for the file at path: its last element,
// with bytes that are not UTF-8 and control characters, which file systems allow,
// replaced.
func offerName(base string) string {
	base = strings.ToValidUTF8(base, "_")
	base = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '_'
		}
		return r
	}, base)
	return cutName(base, MaxName)
}

// SafeName turns a peer's name into one that is harmless on any file system:
// one element, not hidden, not an option, no character or device name that Windows
// gives a meaning, no marks that turn the direction of writing, at most MaxName
// bytes with its extension kept. It never returns an empty name.
func SafeName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`/\<>:"|?*`, r), !unicode.IsPrint(r):
			// IsPrint is false for control and format characters (the marks that
			// make "exe.gpj" read as "jpg.exe") and for exotic spaces.
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	name = strings.TrimRight(name, ". ")
	name = strings.TrimLeft(name, " ")
	if name == "" {
		return "file"
	}
	if name[0] == '.' || name[0] == '-' {
		name = "_" + name[1:]
	}
	stem, _, _ := strings.Cut(name, ".")
	if deviceName(strings.TrimRight(stem, " ")) {
		name = "_" + name
	}
	return cutName(name, MaxName)
}

// deviceName reports whether Windows takes stem for a device, whatever extension
// follows it.
func deviceName(stem string) bool {
	switch s := strings.ToUpper(stem); s {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	default:
		digit, ok := strings.CutPrefix(s, "COM")
		if !ok {
			digit, ok = strings.CutPrefix(s, "LPT")
		}
		return ok && (len(digit) == 1 && '0' <= digit[0] && digit[0] <= '9' || digit == "¹" || digit == "²" || digit == "³")
	}
}

// numberedName is the n-th choice for a name that is taken: "name (n).ext".
func numberedName(name string, n int) string {
	if n == 0 {
		return name
	}
	mark := " (" + strconv.Itoa(n) + ")"
	ext := extension(name)
	return cutStem(name[:len(name)-len(ext)], MaxName-len(mark)-len(ext)) + mark + ext
}

// cutName shortens name to limit bytes and keeps its extension.
func cutName(name string, limit int) string {
	if len(name) <= limit {
		return name
	}
	ext := extension(name)
	return cutStem(name[:len(name)-len(ext)], limit-len(ext)) + ext
}

// cutStem cuts at a character's edge, and leaves no space or dot at the end.
func cutStem(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return strings.TrimRight(s[:limit], ". ")
}

// extension is the last extension with its dot, or nothing when what follows the
// last dot is too long to be one.
func extension(name string) string {
	ext := path.Ext(name)
	if len(ext) > 16 || len(ext) == len(name) || strings.Contains(ext, " ") {
		return ""
	}
	return ext
}
