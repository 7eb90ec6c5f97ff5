// Package bufpool lends byte buffers with headroom in front and counts who holds them.
//
// A packet or a frame is read into a buffer, handed from goroutine to goroutine, gets a header put in front of it, and
// goes out; nothing on that way should copy it or ask the garbage collector for memory. So a [Buf] has three parts:
//
//	| headroom, at first 64 bytes | body, the length asked for | the rest of its size class |
//
// [Buf.Prepend] grows the body to the front (a frame header of 4 bytes, a ChannelData header of 4, a STUN Send
// indication of 36 fit into the headroom together), [Buf.Trim] shrinks it from the front, and [Buf.SetLen] moves its
// end within the class.
//
// # One holder
//
// A buffer has one holder. Get makes the caller the holder; passing the buffer on passes the duty to call
// [Buf.Release], and the doc of every function that takes a *Buf says so. [Buf.Retain] adds a holder: a sender that
// keeps a frame until it is acknowledged while the writer also has it. The last Release gives the memory back. While
// there is more than one holder all of them only read: Prepend, Trim and SetLen belong to a sole holder.
//
// The bytes of a fresh buffer are whatever the last holder left: write before you read, and send only what you wrote.
//
// # Size classes
//
// Five classes hold at least 512 B, 2 KiB, 4 KiB, 16 KiB and 64 KiB of body. Each is as large as the size class of Go's
// own allocator that it lands in, so that the rounding is room at the end and not waste: the fourth takes a whole TLS
// record (5 + 16384 + 256), the fifth the largest frame (65535) and the largest datagram. A longer request is allocated
// and left to the collector; the pool itself holds only what is in use plus what sync.Pool keeps until two collections
// later, so it needs no limit of its own: its users have theirs.
//
// # Finding misuse
//
// With the build tag bufdebug a released buffer is filled with a poison byte and checked for writes when it is lent
// again, every use after the last Release, a second Release, and a change to a shared buffer panic with the stack of
// the release, and [Live] counts what is out. Without the tag a Release too many still panics when it can be seen.
//
// Everything here is safe for concurrent use, except that one Buf's body is changed only by its sole holder. There is
// no goroutine here and nothing blocks.
package bufpool
