package bufpool_test

import (
	"fmt"
	"strings"

	"traverse.internal/core/bufpool"
)

// A body is read, and the frame's header is put in front of it without moving it.
func Example() {
	b := bufpool.Get(1024)
	n, _ := strings.NewReader("hello").Read(b.Bytes())
	b.SetLen(n)

	kept := b.Retain() // a second holder: from here on both only read
	fmt.Printf("%s\n", kept.Bytes())
	kept.Release()

	copy(b.Prepend(4), []byte{0, byte(n), 0, 1})
	fmt.Printf("%q\n", b.Bytes())
	b.Release()
	// Output:
	// hello
	// "\x00\x05\x00\x01hello"
}
