// Package mux carries many named channels over one link at a time: a session outlives its link and moves to another
// without losing a byte.
//
// Whoever calls a link begins a session with [Start]; the other side reads the first frame with [Receive] and goes on
// with [Answer]. From then on the two are equals: each opens channels by name with [Session.Open] and takes the other's
// with [Session.Accept]. A [Channel] is a net.Conn that can be closed one way. The wire is docs/protocol/mux.md, its
// bytes are core/framing; any reliable stream serves as a link, in practice a tls.Link.
//
// # When a link dies
//
// The session lingers, Config.Linger long. Writes go on until they have filled what may be kept, then they wait; reads
// wait; nothing fails. [Session.LinkDown] tells whoever makes links; it hands a new one to [Session.Attach], on the
// other side to [Session.AttachAnswer] with what Receive read. Both sides tell each other how much they have received
// and send the rest again. The same moves a session whose link is alive, from a relay to a direct path and back: the
// new link is attached, then the old one closed. To a channel's user it is a pause. Only when nothing comes in time is
// the session over, with a [*LinkError]: never io.EOF, since nobody said that the stream ended there.
//
// # How frames are written
//
// A Write copies its bytes to the channel's queue, behind what is there, and is done. The link's one writer goroutine
// takes all that is queued on all channels, up to 64 KiB, into one buffer, and writes that at once: four full TLS
// records and one system call. While it writes, the next batch gathers by itself, so there is no timer and no delay. A
// long body is not even copied: it is written from where it lies, with its header in front. Session messages and
// requests go first, then channels that had nothing queued before, then those with a backlog, one frame each in turn: a
// short message waits for one bulk frame, not for one of each channel. Who knows better says so with
// [Channel.SetPriority]: interactive channels go before all others, bulk behind; nobody starves.
//
// On a slow link over TCP, short messages would wait in the kernel and in routers behind what bulk channels have already
// written. While such messages are about, the backlog therefore waits until little is under way; courtesy.go has the rule.
//
// The same buffers are kept until the peer acknowledges them, by reference, for a new link.
//
// Long runs of a file are queued as references ([Channel.ReadFrom]) and read when they are sent: by the kernel, header
// and body in the same TLS records, on a link that can (SendsFiles, SendFile: a tls.Link in the kernel), else into a
// buffer for the time of the write. Nothing of them is kept but file and offset. What has to be sent again is read again;
// a file that is not the same any more resets its channel.
//
// # Memory
//
// What a peer can make us keep, per session, with W = Config.SessionWindow (24 MiB):
//
//	unread bytes         5 W: W bytes of body, in buffers of which at least a quarter is unread, and 1/8 of headroom.
//	                     (Long bodies have a buffer of their own, shorter ones fill the last one up, what a slow
//	                     reader leaves moves to a smaller one)
//	  and per channel    576 bytes: the smallest buffer with a byte in it
//	queued and retained  4 W + 2 MiB: W bytes of body and 1 MiB of frames on channel 0; retained buffers are half in
//	                     use or better (4/9 for long bodies), queued ones a quarter
//	reading, writing     3 × 72 KiB while there is something to do, one of them while idle
//	channels             1.6 KiB each; 2 × MaxChannels at most, when both sides' limits are the same
//
// With ordinary traffic it is little more than the bytes. Of unread ones it is a third of W, 8 MiB, while readers sleep
// that always did: the rest is for windows that grow. Writes wait for the peer's windows and for our own limit,
// whichever is reached first.
//
// A channel's window is 256 KiB at first. When as much comes and is read within two round trips it is doubled, up to
// Config.WindowMax (16 MiB), so that a path of 100 ms carries 160 MB/s on one channel; grow.go has the rule.
//
// The session's window is scarce when many readers sleep. A sender lets each channel hold the less of it the less is
// free, so that there is always some for a channel whose reader is awake; fairShare in window.go has the arithmetic.
//
// # Goroutines and locks
//
// Two goroutines per link, readLoop and writeLoop, which end when the link is given up; Session.Done is closed after
// the last. Timers (ACK, beacon, linger, good-bye) run short functions. No callbacks: nothing of the user's runs under
// our lock. One lock per session guards all but the copying of long bodies; nothing blocks under it.
package mux
