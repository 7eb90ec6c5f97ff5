// Package framing is the wire format of the mux: the 4-byte frame header, ChannelRequest, and the session's own
// messages.
//
// A link carries frames, back to back:
//
//	 0               16              32
//	| body's length | channel       | body, 0 to 65535 bytes |
//
// in network order. A frame of length 0 ends its channel in that direction. Two channels are not users':
//
//	channel  body                                      message
//	0        {"id","name","isAnswer"[,"accepted"[,"reason"]]}  ChannelRequest: open a channel; yes or no
//	0xffff   {0: 1, 2: version, 3: session, …}         HELLO        first frame each way of a new session
//	0xffff   {0: 2, 2: channel, 3: offset}             MAX          the peer may send up to offset on a channel
//	0xffff   {0: 3, 2: offset}                         MAX_SESSION  and on all channels together
//	0xffff   {0: 4, 2: count}                          ACK          this many bytes of frames have arrived
//	0xffff   {0: 5, 2: nonce, 3: answer}               BEACON       are you there; yes
//	0xffff   {0: 6, 2: channel, 3: code, 4: reason}    RESET        a channel ends at once
//	0xffff   {0: 7, 2: code, 3: reason}                GOAWAY       the session ends
//	0xffff   {0: 8, 2: session, 3: epoch, 4: count, 5: mac}  RESUME  first frame each way on a link that takes over
//
// The bodies are msgpack. docs/protocol/mux.md is the whole specification, docs/protocol/testdata has vectors that this
// package and a decoder that shares no code with it both read.
//
// # Who calls what
//
// A session reads and writes through a [Codec], of which [Native] is the one here. The reader shows what has arrived to
// ParseHeader, reads the body to where it belongs, and gives control bodies to ParseControl with its own [Parser]. The
// writer puts headers in front of bodies with AppendHeader and whole control frames into its buffer with AppendControl.
//
// Headers and the messages MAX, MAX_SESSION, ACK and BEACON cost no allocation either way. (Through the interface a
// message that is sent must live on the heap: keep it in a field.)
//
// # What strangers can do
//
// Every body is bounded (MaxControl, MaxName, MaxReason, MaxAccounts, MaxFields, MaxDepth), and parsing allocates no
// more than the bytes it was given: lengths are believed only when the bytes are there. A message that has been parsed
// obeys the rules; builders panic when they are given one that does not, since that can only be our mistake.
//
// There is no state here but pools, no goroutine, and no I/O. Everything but a Parser is safe for concurrent use.
package framing
