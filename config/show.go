package config

import (
	"fmt"
	"slices"
	"strings"
)

// A Setting is one key with what it came to be.
type Setting struct {
	Key    string `json:"key"` // of the second [[relay]] relay[2].url and so on
	Value  string `json:"value"`
	Layer  string `json:"layer"`           // "default", "file", "env" or "flag"
	Where  string `json:"where,omitempty"` // FILE:LINE:COLUMN, the variable or the flag; none of a default
	Secret bool   `json:"secret,omitempty"`

	key   *Key
	relay int
}

func (l Layer) String() string { return [...]string{"default", "file", "env", "flag"}[l] }

// Settings returns every key of a program ("node", "turnd", or "" for all), in the order of the documentation. Of a secret
// the value is "(hidden)".
func (c *Config) Settings(program string) []Setting {
	var out []Setting
	for i := range table {
		k := &table[i]
		if !strings.Contains(k.Programs, program) || isRelay(k.Name) && k.Name != relayURL {
			continue
		}
		if k.Name == relayURL {
			out = append(out, c.relaySettings()...)
			continue
		}
		out = append(out, c.setting(k, k.Name, k.field.get(c), 0))
	}
	return out
}

// relaySettings are those of each [[relay]], without what is not set.
func (c *Config) relaySettings() (out []Setting) {
	for i := range c.Relays {
		one := Config{Relays: c.Relays[i : i+1]}
		for _, name := range []string{relayURL, relayPasswordFile, relayPassword} {
			if text := byName[name].field.get(&one); text != "" {
				out = append(out, c.setting(byName[name], originName(name, i), text, i))
			}
		}
	}
	return out
}

func (c *Config) setting(k *Key, name, text string, relay int) Setting {
	from := c.Origin(name)
	return Setting{Key: name, Value: text, Layer: from.Layer.String(), Where: from.Where, Secret: k.Name == relayPassword, key: k, relay: relay}
}

// WriteTOML writes settings as a file that Load reads to the same values, relative paths and secrets apart. note, when not
// nil, gives the comment behind each; "" means none.
func WriteTOML(list []Setting, note func(Setting) string) string {
	var b strings.Builder
	b.WriteString("schema = 1\n")
	section := ""
	for _, s := range list {
		i := strings.LastIndexByte(s.key.Name, '.')
		title, name := "["+s.key.Name[:i]+"]", s.key.Name[i+1:]
		if isRelay(s.key.Name) {
			title = "[[relay]]"
		}
		if at := fmt.Sprint(title, s.relay); at != section {
			section = at
			b.WriteString("\n" + title + "\n")
		}
		line := name + " = " + s.key.toml(s.Value)
		if s.Secret {
			line = "# " + name + " is hidden"
		}
		b.WriteString(line)
		if note != nil && note(s) != "" {
			b.WriteString("  # " + note(s))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// toml writes a value of the key, as Value gives it, as the file has it.
func (k *Key) toml(text string) string {
	switch {
	case k.Type == typeBool, k.Type == typeCount:
		return text
	case !strings.HasPrefix(k.Type, "list of "):
		return quote(text)
	case text == "":
		return "[]"
	}
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		items = append(items, quote(item))
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// quote writes a basic string of TOML, whose escapes are not all of Go's.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Template returns a file for a program that says nothing: every key as a comment, with its default and what it is for.
func Template(program string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Configuration of %s. Every key stands here with its default; take the # away to say something else.\n", program)
	b.WriteString("# Check it with: " + program + " config check\n\nschema = 1\n")
	section := ""
	for _, k := range table {
		if !strings.Contains(k.Programs, program) {
			continue
		}
		i := strings.LastIndexByte(k.Name, '.')
		if title := k.Name[:i]; title != section {
			section = title
			if isRelay(k.Name) {
				title = "[relay]" // commented out: an empty one is an error
				fmt.Fprintf(&b, "\n#[%s]\n", title)
			} else {
				fmt.Fprintf(&b, "\n[%s]\n", title)
			}
		}
		fmt.Fprintf(&b, "# %s\n#%s = %s\n", k.Help, k.Name[i+1:], k.toml(k.Default))
	}
	return b.String()
}

// Nearest returns the name of a key or section that was probably meant, or "".
func Nearest(name string) string { return nearestKey(name) }

// Within returns the settings that a name stands for: a key's, or a section's. None: there is no such.
func Within(list []Setting, name string) []Setting {
	return slices.DeleteFunc(slices.Clone(list), func(s Setting) bool {
		return s.Key != name && s.key.Name != name && !strings.HasPrefix(s.Key, name+".") && !strings.HasPrefix(s.key.Name, name+".")
	})
}
