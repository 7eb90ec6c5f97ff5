// Package zerocopy moves bytes between kernel objects: two TCP connections, or a file and one.
//
// [Join] relays both ways until both sides have said everything. On Linux each direction is a pump around splice(2):
//
//	socket ──splice──> pipe ──splice──> socket
//
// io.Copy between two *net.TCPConn does that too, but it holds a pipe of its own for as long as the copy lasts, idle or
// not: four more descriptors a connection, and the 65th pipe of an unprivileged process is 8 KiB instead of 1 MiB (the
// kernel's pipe-user-pages-soft), which made 96 connections slower than plain reads and writes (0.68 against 0.60 CPU
// seconds a gigabyte, with large pipes 0.26). So the pipes here are pooled, and a pump has one only while bytes move, or while
// its receiver takes nothing. When all are taken, one of a receiver that takes nothing gives its own up and goes on from
// buffers; where there is none of those either, a pump copies through a pooled buffer, for that move alone.
//
// A kernel's record layer on one of the connections, kernel TLS, is relayed in the same way ([Options].LayerA): splice opens
// and seals records. What it refuses, records that are not data, the layer's own Read explains.
//
// What a pump promises:
//   - a FIN goes on as a FIN, after the last byte: half-closed connections work;
//   - a reset goes on as a reset, after the last byte that came before it: a cut stream never looks finished;
//   - bytes are counted as they are delivered, move by move, not when the connection ends;
//   - closing either connection from outside ends the Join at once;
//   - while nothing moves it holds no pipe and no buffer, only its goroutines.
//
// Where there is no splice the pumps copy through pooled buffers; [Flow] and [ReadStats] say which way bytes went.
package zerocopy
