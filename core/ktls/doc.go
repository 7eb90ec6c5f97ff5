// Package ktls hands the record layer of an established TLS 1.3 connection to the kernel, and reads and writes the
// socket from then on.
//
// The handshake is crypto/tls's. A [Secrets] is its KeyLogWriter and keeps the two traffic secrets of the connection;
// [Attach] derives the keys and gives them to the socket (TCP_ULP "tls"). What is written to it is then sealed by the
// kernel, what is sent with sendfile too, and what is read has been opened: the bytes of a file reach the peer without
// passing through the program.
//
// # Where it can be
//
// Linux, TLS 1.3 with AES-128-GCM, a bare *net.TCPConn. [Available] tries it once per process on a connection to itself
// and remembers the answer; most kernels have it as a module. Where it is not, callers stay with crypto/tls, and [Stats]
// counts why.
//
// The peer need not do the same: the bytes on the wire are those of any other TLS 1.3 connection.
//
// # What the caller sees to
//
// Nothing of the application's may have been read from the socket yet: whoever reads for the handshake takes whole
// records and no byte more. No session tickets, or their records are to be counted: the numbers that Attach is given are
// those of the next record in each direction. A kernel before 6.14 cannot change keys: a peer that asks for it gets a
// fatal alert, and the caller ends the connection before its own keys are worn ([MaxRecords]).
package ktls
