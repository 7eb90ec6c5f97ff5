package config

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// schemaPatterns are what the texts of a type look like, for those who cannot ask its parser: everything that is right matches, and most of what is wrong does not.
// Items of lists may have white space around them.
var schemaPatterns = map[string]string{
	"duration":              `^[-+]?(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`,
	"range of durations":    `^.+\.\..+$`,
	"size":                  `^(0|[0-9.]+ ?(TiB|GiB|MiB|KiB|TB|GB|MB|kB|B))$`,
	"address":               `^(.*:[0-9]+)?$`,
	"host:port":             `^(.*:[0-9]+)?$`,
	"IPv4 address":          `^[0-9A-Fa-f:.]*$`,
	"IPv6 address":          `^[0-9A-Fa-f:.]*$`,
	"port range":            `^[0-9]+-[0-9]+$`,
	"URL":                   `^[hH][tT][tT][pP][sS]://`,
	"list of addresses":     `:[0-9]+\s*$`,
	"list of hosts":         `:[0-9]+\s*$`,
	"list of networks":      `^\s*[0-9A-Fa-f:.]+(/[0-9]+)?\s*$`,
	"list of URIs":          `^\s*turns?:`,
	"text":                  "",
	"list of names":         "",
	"list of device ids":    "",
	"list of kinds of ways": "", // the field has its own
	typePath:                "",
	typeBool:                "",
	typeCount:               "",
}

// schemaObject is a node of a JSON Schema, as far as ours has it.
type schemaObject struct {
	Schema      string                   `json:"$schema,omitempty"`
	Title       string                   `json:"title,omitempty"`
	Description string                   `json:"description,omitempty"`
	Type        string                   `json:"type,omitempty"`
	Const       any                      `json:"const,omitempty"`
	Enum        []string                 `json:"enum,omitempty"`
	Pattern     string                   `json:"pattern,omitempty"`
	Minimum     int                      `json:"minimum,omitempty"`
	Maximum     int                      `json:"maximum,omitempty"`
	Default     any                      `json:"default,omitempty"`
	Items       *schemaObject            `json:"items,omitempty"`
	Properties  map[string]*schemaObject `json:"properties,omitempty"`
	Required    []string                 `json:"required,omitempty"`
	Closed      *bool                    `json:"additionalProperties,omitempty"`
	Env         string                   `json:"x-variable,omitempty"`
	Flag        string                   `json:"x-flag,omitempty"`
	Programs    []string                 `json:"x-programs,omitempty"`
}

func schemaTable(description string) *schemaObject {
	no := false
	return &schemaObject{Type: "object", Description: description, Properties: map[string]*schemaObject{}, Closed: &no}
}

// Schema returns the JSON Schema (2020-12) of the file, with every key of both programs, made of the table that Load reads by. What Load takes it takes; what it
// cannot say is what one key demands of another, and what only a parser knows.
func Schema() []byte {
	root := schemaTable("Configuration of node and turnd")
	root.Schema, root.Title = "https://json-schema.org/draft/2020-12/schema", "traverse.toml"
	root.Properties["schema"] = &schemaObject{Description: "the form of this file", Const: 1}
	for i := range table {
		k := &table[i]
		at := root
		parts := strings.Split(k.Name, ".")
		for n, part := range parts[:len(parts)-1] {
			next := at.Properties[part]
			if next == nil {
				next = schemaTable("[" + strings.Join(parts[:n+1], ".") + "]")
				if part == "relay" {
					next.Description, next.Required = "one [[relay]]", []string{"url"}
					next = &schemaObject{Type: "array", Items: next}
				}
				at.Properties[part] = next
			}
			if at = next; next.Items != nil {
				at = next.Items
			}
		}
		at.Properties[parts[len(parts)-1]] = k.schema()
	}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(err) // there is nothing in it that could not be written
	}
	return append(out, '\n')
}

// schema is that of one key.
func (k *Key) schema() *schemaObject {
	s := &schemaObject{Description: k.Help, Env: k.Env, Flag: "--" + k.Flag, Programs: strings.Fields(k.Programs)}
	pattern := k.field.pattern
	if pattern == "" {
		pattern = schemaPatterns[k.Type]
	}
	switch {
	case k.Type == typeBool:
		s.Type, s.Default = "boolean", k.Default == "true"
	case k.Type == typeCount:
		n, _ := strconv.Atoi(k.Default)
		s.Type, s.Minimum, s.Maximum, s.Default = "integer", 1, math.MaxInt32, n
	case strings.HasPrefix(k.Type, "list of "):
		items := []string{}
		if k.Default != "" {
			items = strings.Split(k.Default, ",")
		}
		s.Type, s.Items, s.Default = "array", &schemaObject{Type: "string", Pattern: pattern}, items
	default:
		s.Type, s.Enum, s.Pattern, s.Default = "string", k.field.words, pattern, k.Default
	}
	if isRelay(k.Name) {
		s.Default = nil
	}
	return s
}
