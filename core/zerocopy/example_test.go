package zerocopy_test

import (
	"fmt"
	"io"
	"net"

	"traverse.internal/core/zerocopy"
)

// A relay between two connections that counts what goes up.
func ExampleJoin() {
	connect := func() (app, ours *net.TCPConn) {
		ln, _ := net.Listen("tcp", "127.0.0.1:0")
		defer ln.Close()
		dialled, _ := net.Dial("tcp", ln.Addr().String())
		accepted, _ := ln.Accept()
		return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
	}
	alice, a := connect()
	bob, b := connect()

	var up zerocopy.Flow
	done := make(chan error)
	go func() { done <- zerocopy.Join(a, b, zerocopy.Options{AToB: &up}) }()

	fmt.Fprint(alice, "hello")
	alice.CloseWrite()
	heard, _ := io.ReadAll(bob)
	bob.Close()
	fmt.Printf("%s, ended with %v, %d bytes\n", heard, <-done, up.Spliced.Load()+up.Copied.Load())
	// Output: hello, ended with <nil>, 5 bytes
}
