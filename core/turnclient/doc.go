// Package turnclient borrows ports from a TURN server, TCP or UDP, so that peers who cannot reach us can reach the server instead.
//
// It speaks RFC 6062 (TCP allocations) over a TCP control connection, with relayed addresses of either family, and the
// long-term credentials of RFC 8489. The client below has port 40000 of the relay; A is the control connection, B a data
// connection. Each arrow is one STUN message, except those of bytes.
//
//	client                                  relay                                       peer
//	  |-- A: Allocate, TCP, bare ------------>|
//	  |<- A: 401, realm and nonce ------------|
//	  |-- A: Allocate, signed --------------->| binds port 40000
//	  |<- A: relay:40000, lifetime 600 -------|
//	  |-- A: CreatePermission, peer's IP ---->| listens
//	  |<- A: success -------------------------|
//	  |   (relay:40000 reaches the peer by whatever signalling there is)                  |
//	  |                                       |<------------ TCP SYN to relay:40000 ------|
//	  |<- A: ConnectionAttempt, id, peer -----|<------------ bytes, kept by the relay ----|
//	  |-- B: a new connection, ConnectionBind with the id ->|                             |
//	  |<- B: success -------------------------| from here on B is the peer's connection   |
//	  |<================================ bytes, both ways ==============================>|
//	  |-- A: Refresh, every 540 s ----------->|
//	  |-- A: CreatePermission, every 240 s -->|
//	  |-- A: Refresh, lifetime 0 ------------>| closes port 40000 and B
//
// [Dial] makes A, [Client.Allocate] is the first two exchanges, [Allocation.Permit] the third, [Allocation.Accept] returns
// B. [Allocation.Connect] is the other direction: the relay dials the peer. What Accept and Connect return is a bare
// *net.TCPConn, read exactly to the end of the response, so the kernel can splice it and the peer's first byte is the
// first byte read.
//
// [Client.AllocateUDP] borrows a UDP port instead (RFC 8656). Its datagrams travel inside A: [UDPAllocation.Send] sends one,
// those that come are handed to a function, and [UDPAllocation.Bind] makes them shorter for one peer. For that A may also be
// UDP itself (Config.UDP).
//
// One client holds one allocation, because the server knows an allocation by its control connection. Whoever wants both
// families dials twice. A server without addresses of one family refuses with an error that is [ErrFamily]; go on with
// the other.
//
// # What is believed
//
// Once the server has asked for credentials, every response must carry an integrity check that they confirm. One that does
// not is dropped as if it had not come, except 400, 401, 420 and 438, which a server sends when it has no key to sign with;
// forging those costs us one retry. Indications cannot be signed. A server that sends anything but STUN, or longer messages
// than any that it could need, loses the connection.
//
// # How it ends
//
// The allocation ends when the control connection does, or when a Refresh is answered by 437, and then Done is closed and
// Err says why. No call waits longer than its context, nor than Config.Timeout for an answer (Connect: 40 s). A time that
// ran out is os.ErrDeadlineExceeded. A refusal is an [*Error] with the server's code; everything else that is the server's
// or the network's doing is an [*UnreachableError]. Both tell their reason code.
//
// # Goroutines
//
// A client runs readLoop; a TCP allocation adds keepLoop and eight bindLoops, a UDP allocation keepLoop and, over a stream,
// sendLoop. All end with the control connection, and Close
// waits for them.
package turnclient
