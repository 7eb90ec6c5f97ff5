package transfer_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"traverse.internal/transfer"
)

// conn makes a TCP connection a Stream. A *mux.Channel is one by itself.
type conn struct{ *net.TCPConn }

func (c conn) Reset(uint16, string) error {
	c.SetLinger(0)
	return c.Close()
}

// One file over one TCP connection: what is left of the error handling is what a
// program would print.
func Example() {
	home, err := os.MkdirTemp("", "transfer")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(home)
	path := filepath.Join(home, "greeting.txt")
	os.WriteFile(path, []byte("hello"), 0o600)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()

	received := make(chan string, 1)
	go func() { received <- receiveOne(listener, filepath.Join(home, "inbox")) }()

	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	src, err := transfer.NewSource(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()
	sent, err := transfer.Send(context.Background(), conn{c.(*net.TCPConn)}, src, transfer.SendOptions{})
	fmt.Print(<-received)
	fmt.Println("sent", sent.Name, sent.Size, err)
	// Output:
	// offered greeting.txt 5
	// stored greeting.txt <nil>
	// sent greeting.txt 5 <nil>
}

func receiveOne(l net.Listener, inbox string) string {
	dir, err := transfer.OpenDir(inbox)
	if err != nil {
		return err.Error()
	}
	defer dir.Close()
	c, err := l.Accept()
	if err != nil {
		return err.Error()
	}
	in, err := transfer.ReadOffer(context.Background(), conn{c.(*net.TCPConn)}, transfer.ReceiveOptions{})
	if err != nil {
		return err.Error()
	}
	fmt.Println("offered", in.Offer().Name, in.Offer().Size)
	got, err := in.Accept(context.Background(), dir, transfer.AcceptOptions{})
	return fmt.Sprintln("stored", got.Name, err)
}
