package framing_test

import (
	"fmt"

	"traverse.internal/core/framing"
)

// What the opener of a channel sends, and how the other side reads it.
func Example() {
	var codec framing.Codec = framing.Native{}
	stream := codec.AppendControl(nil, &framing.ChannelRequest{ID: framing.FirstOfferer, Name: "echo"})
	stream = codec.AppendHeader(stream, framing.Header{Length: 2, Channel: framing.FirstOfferer})
	stream = append(stream, "hi"...)
	fmt.Printf("%x\n", stream)

	var p framing.Parser
	for len(stream) > 0 {
		h, n, err := codec.ParseHeader(stream)
		if err != nil {
			fmt.Println(err)
			return
		}
		body := stream[n : n+int(h.Length)]
		stream = stream[n+int(h.Length):]
		if h.Channel.IsData() {
			fmt.Printf("%04x: %s\n", uint16(h.Channel), body)
			continue
		}
		m, _, err := codec.ParseControl(&p, h.Channel, body)
		fmt.Println(m, err)
	}
	// Output:
	// 001b000083a26964cd8000a46e616d65a46563686fa86973416e73776572c2000280006869
	// ChannelRequest id=8000 name="echo" isAnswer=false <nil>
	// 8000: hi
}
