package muxdecode_test

import (
	"encoding/hex"
	"fmt"

	"traverse.internal/docs/protocol/muxdecode"
)

// A captured stream, after the TLS that carried it.
func ExampleStream() {
	captured, _ := hex.DecodeString("001b000083a26964cd8000a46e616d65a46563686fa86973416e73776572c2" +
		"000280006869" + "00008000")
	for _, line := range muxdecode.Stream(captured) {
		fmt.Println(line)
	}
	// Output:
	// is ChannelRequest id=8000 name="echo" isAnswer=false
	// is channel=8000 data=6869
	// is channel=8000 EOF
}
