package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What is a secret wherever it stands. None of it is in what the node tells; a log line with a peer's words, or a path, may hold anything.
var secretText = []struct {
	is   *regexp.Regexp
	mask string
}{
	{regexp.MustCompile(`TRV1[A-Z2-7]{16,}`), "TRV1(hidden)"},
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*(PRIVATE KEY|AGE ENCRYPTED FILE)-----.*?(-----END [A-Z ]*-----|$)`), "(hidden key)"},
	{regexp.MustCompile(`(://|\bturns?:|\bstuns?:)([^:@/\s"]+):[^@/\s"]+@`), "$1$2:(hidden)@"},
	{regexp.MustCompile(`(?i)\b(password|passphrase|secret|token)=("[^"]*"|[^\s"]+)`), "$1=(hidden)"},
}

var (
	idText   = regexp.MustCompile(`\b(?:[A-Za-z2-7]{7}-){7}[A-Za-z2-7]{7}\b|\b[A-Z2-7]{56}\b`)
	userText = regexp.MustCompile(`\b(turns?:)[^@/\s"]+@`)
)

// redactor takes out of a bundle what nobody else shall read: secrets always, and with names set who is who. What stands for one thing is the same everywhere in
// the bundle, so that it can still be followed.
type redactor struct {
	names map[string]string // what to replace, and by what; nil: only secrets are
	order []string          // the keys of names, the longest first
	ids   map[string]string
}

// hide notes a text that is somebody's name, and what kind of. The empty one is nobody's.
func (r *redactor) hide(kind, text string) {
	if r.names == nil || text == "" || r.names[text] != "" {
		return
	}
	n := 1
	for _, as := range r.names {
		if strings.HasPrefix(as, kind+"-") {
			n++
		}
	}
	r.names[text] = fmt.Sprintf("%s-%d", kind, n)
	r.order = append(r.order, text)
	slices.SortStableFunc(r.order, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
}

// hideID notes an id, whole and short.
func (r *redactor) hideID(id string) string {
	bare := strings.ReplaceAll(strings.ToUpper(id), "-", "")
	as, known := r.ids[bare]
	if !known {
		as = fmt.Sprintf("ID-%d", len(r.ids)+1)
		r.ids[bare] = as
		short := bare[:7]
		if r.names[short] == "" {
			r.names[short] = as
			r.order = append(r.order, short)
		}
	}
	return as
}

// text is one without what is to be left out.
func (r *redactor) text(s string) string {
	for _, secret := range secretText {
		s = secret.is.ReplaceAllString(s, secret.mask)
	}
	if r.names == nil {
		return s
	}
	s = userText.ReplaceAllString(s, "${1}USER@")
	s = idText.ReplaceAllStringFunc(s, r.hideID)
	for _, name := range r.order {
		s = replaceWord(s, name, r.names[name])
	}
	return s
}

// replaceWord replaces a text where it stands by itself. One of a letter or two only where it is all: `a` is a word of English, too.
func replaceWord(s, word, by string) string {
	if s == word {
		return by
	}
	if utf8.RuneCountInString(word) < 3 {
		if rest, ok := strings.CutPrefix(s, word+":"); ok { // CONTACT:DEVICE
			return by + ":" + rest
		}
		return s
	}
	part := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }
	var out strings.Builder
	for {
		i := strings.Index(s, word)
		if i < 0 {
			out.WriteString(s)
			return out.String()
		}
		before, _ := utf8.DecodeLastRuneInString(s[:i])
		after, _ := utf8.DecodeRuneInString(s[i+len(word):])
		out.WriteString(s[:i])
		if part(before) && i > 0 || part(after) && i+len(word) < len(s) {
			out.WriteString(word)
		} else {
			out.WriteString(by)
		}
		s = s[i+len(word):]
	}
}

// object is a JSON value without what is to be left out, laid out for people. Its keys stay.
func (r *redactor) object(raw []byte) ([]byte, error) {
	var v any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	out, err := json.MarshalIndent(r.value(v), "", "  ")
	return append(out, '\n'), err
}

func (r *redactor) value(v any) any {
	switch v := v.(type) {
	case string:
		return r.text(v)
	case []any:
		for i := range v {
			v[i] = r.value(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = r.value(v[key])
		}
	}
	return v
}
