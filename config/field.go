package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

const (
	typeBool  = "true or false"
	typeCount = "number, 1 or more"
	typePath  = "path"
)

// A value is what a layer gives for a key, before it is understood. Flags and variables give text that can stand for
// any kind; the file has kinds of its own.
type value struct {
	kind  kind
	text  string   // of anyKind, stringKind, boolKind and numberKind
	items []string // of listKind
	dir   string   // relative paths are relative to it
	env   []string // for env:NAME
	relay int      // which [[relay]] it belongs to
}

type kind uint8

const (
	anyKind kind = iota // from a flag or a variable
	stringKind
	boolKind
	numberKind
	listKind
	otherKind // dates, tables, nested lists: nothing wants them
)

// A field is how a key's value gets into a Config.
type field struct {
	typ     string
	words   []string // of a choice
	pattern string   // of the text, or of a list's items, where typ does not say it all (schema.go)
	set     func(*Config, value) error
	get     func(*Config) string // as it would be written, for `config show`
}

// one is a field that has one value.
func one[T any](at func(*Config) *T, typ string, parse func(string) (T, error)) field {
	want := stringKind
	switch typ {
	case typeBool:
		want = boolKind
	case typeCount:
		want = numberKind
	}
	return field{
		typ: typ,
		set: func(c *Config, v value) error {
			if v.kind != anyKind && v.kind != want {
				return wrongKind(want)
			}
			parsed, err := parse(v.text)
			if err != nil {
				return err
			}
			*at(c) = parsed
			return nil
		},
		get: func(c *Config) string { return show(*at(c)) },
	}
}

// list is a field that has any number of values; one text may stand for several.
func list[T any](at func(*Config) *[]T, typ string, parse func(string) ([]T, error)) field {
	return field{
		typ: "list of " + typ,
		set: func(c *Config, v value) error {
			items := v.items
			switch {
			case v.kind == anyKind && strings.TrimSpace(v.text) == "":
				items = nil
			case v.kind == anyKind:
				items = strings.Split(v.text, ",")
			case v.kind != listKind:
				return wrongKind(listKind)
			}
			var out []T
			for _, item := range items {
				parsed, err := parse(strings.TrimSpace(item))
				if err != nil {
					return err
				}
				out = append(out, parsed...)
			}
			*at(c) = out
			return nil
		},
		get: func(c *Config) string {
			var out []string
			for _, item := range *at(c) {
				out = append(out, show(item))
			}
			return strings.Join(out, ",")
		},
	}
}

// choice is a field that has one of a few words.
func choice(at func(*Config) *string, words ...string) field {
	f := one(at, strings.Join(words, ", "), func(s string) (string, error) {
		if slices.Contains(words, s) {
			return s, nil
		}
		return "", fmt.Errorf("%q is not one of %s%s", s, strings.Join(words, ", "), didYouMean(nearest(s, words)))
	})
	f.words = words
	return f
}

// path is a field that names a file or a directory.
func path(at func(*Config) *string) field {
	f := one(at, typePath, func(s string) (string, error) { return s, nil })
	set := f.set
	f.set = func(c *Config, v value) error {
		v.text = v.resolve(v.text)
		return set(c, v)
	}
	return f
}

// resolve makes a path of the file relative to the file.
func (v value) resolve(path string) string {
	if path == "" || v.dir == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(v.dir, path)
}

// relayField is a field of the [[relay]] that the value belongs to, which must be there.
func relayField(at func(*Relay) *string, understand func(value) (string, error)) field {
	return field{
		typ: "text",
		set: func(c *Config, v value) error {
			if v.kind != anyKind && v.kind != stringKind {
				return wrongKind(stringKind)
			}
			text, err := understand(v)
			if err != nil {
				return err
			}
			*at(&c.Relays[v.relay]) = text
			return nil
		},
		get: func(c *Config) string {
			var out []string
			for i := range c.Relays {
				out = append(out, *at(&c.Relays[i]))
			}
			return strings.Join(out, ",")
		},
	}
}

// like gives a field the pattern of its text.
func like(pattern string, f field) field {
	f.pattern = pattern
	return f
}

// hidden is a field whose value is not to be shown.
func hidden(f field) field {
	get := f.get
	f.get = func(c *Config) string {
		if strings.Trim(get(c), ",") == "" {
			return ""
		}
		return "(hidden)"
	}
	return f
}

// prefixed is a list whose items are written with a prefix.
func prefixed(prefix string, f field) field {
	get := f.get
	f.pattern = "^\\s*" + prefix
	f.get = func(c *Config) string {
		if get(c) == "" {
			return ""
		}
		return prefix + strings.ReplaceAll(get(c), ",", ","+prefix)
	}
	return f
}

// single makes a parser of one item that gives several.
func single[T any](parse func(string) (T, error)) func(string) ([]T, error) {
	return func(s string) ([]T, error) {
		v, err := parse(s)
		return []T{v}, err
	}
}

// orEmpty lets the empty text through.
func orEmpty(parse func(string) (string, error)) func(string) (string, error) {
	return func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		return parse(s)
	}
}

func wrongKind(want kind) error {
	return errors.New("want " + map[kind]string{
		stringKind: `a string in quotes, "…"`,
		boolKind:   "true or false, without quotes",
		numberKind: "a whole number, without quotes",
		listKind:   `a list, ["…", "…"]`,
	}[want])
}
