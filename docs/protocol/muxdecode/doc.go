// Package muxdecode is a second decoder of the mux's wire, written from docs/protocol/mux.md alone.
//
// It exists to keep that page honest: it imports nothing of Traverse and no msgpack library, reads the same vectors as
// core/framing, and a fuzz test holds the two against each other on bytes that nobody thought of. Where they differ,
// the page decides, and when the page does not say, the page is what has to change.
//
// It is built another way than core/framing on purpose: driven by the tables of the page, and its results are the words
// of testdata/mux-vectors.txt. That makes it slow and, on a captured stream, readable:
//
//	for _, line := range muxdecode.Stream(captured) { fmt.Println(line) }
package muxdecode
