package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// An entry is one key of the file.
type entry struct {
	key     *Key
	value   value
	where   string // file:line:column
	at, end int    // the bytes of its value
}

// A span is a part of the file, for those who change it.
type span struct {
	kind       spanKind
	section    string // of a key of a [section] it is ""
	relay      int
	begin, end int
	prefix     string // of a dotted key all parts but the last, as written
	empty      bool   // an inline table without keys
}

type spanKind uint8

const (
	spanTable  spanKind = iota // a header
	spanKey                    // a key with its value
	spanDotted                 // the same, where its name has dots; section is what those make
	spanInline                 // { … }
)

// fileReader walks a TOML document. go-toml's decoder says where an unknown key stands but not where a known one does;
// its parser, which is named unstable and pinned, says both.
type fileReader struct {
	name    string
	parser  unstable.Parser
	entries []entry
	spans   []span
	relays  int // [[relay]] tables begun
}

// readFile returns the keys of a TOML document in their order, and how many [[relay]] it has.
func readFile(name string, data []byte) ([]entry, int, error) {
	r := &fileReader{name: name}
	if err := r.read(data); err != nil {
		return nil, 0, err
	}
	return r.entries, r.relays, nil
}

func (r *fileReader) read(data []byte) error {
	name := r.name
	// The decoder first: it knows what the parser does not, such as keys and tables that stand there twice.
	var whole map[string]any
	if err := toml.Unmarshal(data, &whole); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, column := at.Position()
			name = fmt.Sprintf("%s:%d:%d", name, line, column)
		}
		return &Error{Where: name, Err: errors.New(strings.TrimPrefix(err.Error(), "toml: "))}
	}
	r.parser.Reset(data)
	var section []string
	for r.parser.NextExpression() {
		var err error
		switch node := r.parser.Expression(); node.Kind {
		case unstable.Table, unstable.ArrayTable:
			section, err = r.table(node)
		case unstable.KeyValue:
			err = r.keyValue(section, node, false)
		}
		if err != nil {
			return err
		}
	}
	if err := r.parser.Error(); err != nil {
		return &Error{Where: name, Err: err}
	}
	return nil
}

// table takes a [section] or [[section]] header.
func (r *fileReader) table(node *unstable.Node) ([]string, error) {
	names := keyNames(node)
	section := strings.Join(names, ".")
	isList := section == "relay"
	var err error
	switch {
	case !sections[section]:
		err = fmt.Errorf("unknown section [%s]%s", section, didYouMean(nearest(section, slices.Collect(maps.Keys(sections)))))
	case isList && node.Kind == unstable.Table:
		err = errors.New("there can be several relays: write [[relay]]")
	case !isList && node.Kind == unstable.ArrayTable:
		err = fmt.Errorf("there is one of it: write [%s]", section)
	}
	if err != nil {
		return nil, &Error{Where: r.where(node), Err: err}
	}
	if isList {
		r.relays++
	}
	begin, end := r.extent(node)
	r.spans = append(r.spans, span{kind: spanTable, section: section, relay: r.relays - 1, begin: begin, end: end})
	return names, nil
}

// keyValue takes one key, or those inside an inline table.
func (r *fileReader) keyValue(section []string, node *unstable.Node, inside bool) error {
	parts := keyNames(node)
	names := append(section[:len(section):len(section)], parts...)
	name, v := strings.Join(names, "."), node.Value()
	if !inside {
		begin, _ := r.extent(node)
		at := span{kind: spanKey, relay: r.relays - 1, begin: begin, end: int(node.Raw.Offset + node.Raw.Length)}
		if len(parts) > 1 {
			at.kind, at.section = spanDotted, strings.Join(names[:len(names)-1], ".")
			at.prefix = strings.Join(parts[:len(parts)-1], ".") + "."
		}
		r.spans = append(r.spans, at)
	}
	switch {
	case v.Kind == unstable.InlineTable && sections[name] && name != "relay":
		return r.inline(names, v)
	case v.Kind == unstable.Array && name == "relay":
		for items := v.Children(); items.Next(); {
			if items.Node().Kind != unstable.InlineTable {
				return &Error{Where: r.where(node), Key: name, Err: errors.New("want [[relay]] tables")}
			}
			r.relays++
			if err := r.inline(names, items.Node()); err != nil {
				return err
			}
		}
		return nil
	case name == "schema":
		if v.Kind != unstable.Integer || string(v.Data) != "1" {
			return &Error{Where: r.where(node), Key: name, Err: errors.New("this program reads schema 1")}
		}
		return nil
	}
	key := byName[name]
	if key == nil {
		return &Error{Where: r.where(node), Err: fmt.Errorf("unknown key %q%s", name, didYouMean(nearestKey(name)))}
	}
	if strings.HasPrefix(name, "relay.") && r.relays == 0 { // relay.url = … without a table
		return &Error{Where: r.where(node), Key: name, Err: errors.New("there can be several relays: write [[relay]]")}
	}
	r.entries = append(r.entries, entry{key: key, value: nodeValue(v, r.relays-1), where: r.where(node), at: r.valueAt(node), end: int(node.Raw.Offset + node.Raw.Length)})
	return nil
}

func (r *fileReader) inline(section []string, table *unstable.Node) error {
	begin := int(table.Raw.Offset) // of the brace
	r.spans = append(r.spans, span{kind: spanInline, section: strings.Join(section, "."), relay: r.relays - 1, begin: begin, end: begin + 1, empty: table.Child() == nil})
	for keys := table.Children(); keys.Next(); {
		if err := r.keyValue(section, keys.Node(), true); err != nil {
			return err
		}
	}
	return nil
}

// extent is where the first part of a node's key begins and the last one ends.
func (r *fileReader) extent(node *unstable.Node) (begin, end int) {
	begin = -1
	for key := node.Key(); key.Next(); {
		raw := key.Node().Raw
		if begin < 0 {
			begin = int(raw.Offset)
		}
		end = int(raw.Offset + raw.Length)
	}
	return begin, end
}

// valueAt is where a key's value begins: behind the key, the sign and white space.
func (r *fileReader) valueAt(node *unstable.Node) int {
	_, end := r.extent(node)
	whole := r.parser.Raw(node.Raw)[end-int(node.Raw.Offset):]
	return end + len(whole) - len(strings.TrimLeft(string(whole), " \t="))
}

// nextTable is where the table behind a span begins, or the file's end.
func (r *fileReader) nextTable(i, length int) int {
	for _, s := range r.spans[i+1:] {
		if s.kind == spanTable {
			return s.begin
		}
	}
	return length
}

// where says where the first part of a node's key stands.
func (r *fileReader) where(node *unstable.Node) string {
	key := node.Key()
	key.Next()
	start := r.parser.Shape(key.Node().Raw).Start
	return fmt.Sprintf("%s:%d:%d", r.name, start.Line, start.Column)
}

// keyNames returns the parts of a dotted key. A part with a dot in it, which must be quoted, stays quoted.
func keyNames(node *unstable.Node) (names []string) {
	for key := node.Key(); key.Next(); {
		name := string(key.Node().Data)
		if strings.Contains(name, ".") {
			name = strconv.Quote(name)
		}
		names = append(names, name)
	}
	return names
}

func nodeValue(node *unstable.Node, relay int) value {
	v := value{kind: otherKind, text: string(node.Data), relay: relay}
	switch node.Kind {
	case unstable.String:
		v.kind = stringKind
	case unstable.Bool:
		v.kind = boolKind
	case unstable.Integer:
		v.kind = numberKind
	case unstable.Array:
		v.kind = listKind
		for items := node.Children(); items.Next(); {
			if items.Node().Kind != unstable.String {
				v.kind = otherKind
			}
			v.items = append(v.items, string(items.Node().Data))
		}
	}
	return v
}

// nearestKey returns the key that was probably meant: one that is written alike, or one that has the same last word
// in another section.
func nearestKey(name string) string {
	names := slices.Sorted(maps.Keys(byName))
	if near := nearest(name, names); near != "" {
		return near
	}
	last := name[strings.LastIndex(name, ".")+1:]
	for _, n := range names {
		if n[strings.LastIndex(n, ".")+1:] == last {
			return n
		}
	}
	return ""
}
