package config

import "fmt"

// An Error is the first thing that is wrong in a configuration.
type Error struct {
	Key   string // dotted name, or "" when it is not about one
	Where string // "traverse.toml:7:3" (line, column), "TRAVERSE_DHT_MODE", "--path", or ""
	Err   error
}

func (e *Error) Error() string {
	text := "config: "
	if e.Where != "" {
		text += e.Where + ": "
	}
	if e.Key != "" {
		text += e.Key + ": "
	}
	return text + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// A Layer is where a value can come from. A later one wins.
type Layer uint8

// The layers in their order.
const (
	LayerDefault Layer = iota
	LayerFile
	LayerEnv
	LayerFlag
)

// An Origin says where a key's value comes from.
type Origin struct {
	Layer Layer
	Where string // as in Error
}

func (o Origin) String() string {
	if o.Layer == LayerDefault {
		return "default"
	}
	return o.Where
}

// nearest returns the candidate that was probably meant by s, or "".
func nearest(s string, candidates []string) string {
	const longest = 64 // beyond it nobody mistyped a name of ours, and the distance below costs its square
	if len(s) > longest {
		return ""
	}
	best, found := max(2, len(s)/4)+1, ""
	for _, c := range candidates {
		if d := distance(s, c); d < best && d < len(c) {
			best, found = d, c
		}
	}
	return found
}

// distance is the number of bytes to insert, delete or change, or neighbours to swap, that makes b from a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			rows[i][j] = min(change, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

func didYouMean(near string) string {
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", near)
}
