// Package stun reads and writes the bytes of STUN and TURN: messages of RFC 8489, RFC 8656 and RFC 6062, and ChannelData.
//
// A message is 20 bytes of header and then attributes, each a type, a length and a value padded to four bytes:
//
//	0                   1                   2                   3
//	|0 0|  method and class  |     length of what follows the header |
//	|                    magic cookie 0x2112A442                     |
//	|                    transaction id, 12 bytes                    |
//	|       attribute type   |     length without padding            |
//	|       value, padded with any bytes to a multiple of four       |
//
// [Parse] walks the attributes once, checks every bound, and returns a [Message]: a view of the caller's bytes, valid as
// long as they are. It also decides which attributes may be seen at all. What follows MESSAGE-INTEGRITY was not protected
// by it, so it is hidden, except MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489 §9): every accessor, the search for
// unknown attributes included, obeys that without being asked. Of two attributes of one type the first one counts.
//
// [New] starts a [Builder], which appends to a slice that the caller owns and keeps the length field right after every
// step, so that at any moment the bytes are a whole message.
//
// Nothing here does I/O, starts a goroutine or allocates, integrity included (a test says so); the exceptions are key
// derivation and the String methods, which are for set-up and logs. Errors of the packet path are sentinels, because a
// flood of bad packets must not become a flood of garbage: branch on them with errors.Is or ==. Values are safe for
// concurrent reading.
//
// Addresses come out exactly as they were sent: an IPv6 address that wraps an IPv4 one (::ffff:10.0.0.1) is not
// unwrapped, because an access list has to see the disguise. They go in unwrapped.
//
// Strings are bytes here. The OpaqueString preparation of user names, realms and passwords (RFC 8265) belongs to whoever
// reads them from a person or a file.
package stun
