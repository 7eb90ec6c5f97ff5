// Package tls secures a stream between two devices that know each other's id: TLS 1.3, both certificates, one ALPN.
//
// AsClient and AsServer take a connected stream (a bare *net.TCPConn in the product) and run the handshake on it; the
// result is a Link. There are no certificate authorities and no names: the peer is right when the Ed25519 key of its
// certificate is the DeviceID that was asked for, and a handshake proves that it has that key. Anything else fails with
// a typed error that says who is at fault: *PeerKeyError (another key), *RefusedError (the peer does not want us), or
// *HandshakeError with a Fault.
//
// The package shares its name with crypto/tls and none of its exported names, so that a file with the wrong import does
// not compile. Inside, crypto/tls does the cryptography with what Go prefers (X25519MLKEM768 and AES-128-GCM on today's
// machines); there is no version, cipher suite or resumption to configure. Tickets are off: a link is not resumed, the
// session above it is (docs/protocol/mux.md).
//
// # Writing
//
// crypto/tls makes one system call per 16 KiB record. A Link gathers the records of one Write and hands them to the raw
// stream together: one Write of up to 128 KiB is one raw write, a longer one is a raw write per 128 KiB. The gathering
// buffer is borrowed for the time of the Write; an idle Link holds none. A write that fails or times out ends the
// writing half for good, because nobody can know how much of a record went out.
//
// # Reading
//
// The handshake takes whole records off the raw stream and not a byte more, so that what follows is still in the kernel
// when it ends; that is what handing the keys to the kernel needs. After it, a Link reads through a buffer of
// 64 KiB. A read that times out may be repeated. io.EOF means that the peer said so (close_notify); a stream that just
// ends is ErrTruncated, also between two records, where crypto/tls would be content.
//
// # In the kernel
//
// On a bare *net.TCPConn, where the kernel has TLS, it seals and opens the records from the end of the handshake on
// (core/ktls, Link.InKernel). Everything above holds there too; and SendFile sends bytes of a file without their passing
// through the program. Either end may be in the kernel or not.
//
// A key seals at most 2^24 records in one direction, wherever it is; then Write says ErrKeyLimit, and the session above
// goes on over a link with new keys.
//
// Read and Write may be called concurrently, each also by several goroutines; Close interrupts both. No goroutine is
// left behind by any call.
package tls
