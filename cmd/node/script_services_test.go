package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"traverse.internal/daemon"
)

// echoserver VAR: the port of a program that sends back what comes, and an end after the end.
func cmdEchoServer(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// roundtrip NETWORK ADDR FILE: the file goes there, ends, and comes back whole. NETWORK socks is ADDR of the proxy, a slash, and where to go.
func cmdRoundTrip(ts *testscript.TestScript, neg bool, args []string) {
	want, err := os.ReadFile(ts.MkAbs(args[2]))
	ts.Check(err)
	got, err := thereAndBack(args[0], args[1], want)
	if ok := err == nil && bytes.Equal(got, want); ok == neg {
		ts.Fatalf("%d bytes of %d came back, %v", len(got), len(want), err)
	}
}

func thereAndBack(network, address string, data []byte) ([]byte, error) {
	to := ""
	if network == "socks" {
		network = "tcp"
		address, to, _ = strings.Cut(address, "/")
	}
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if network == "udp" {
		if _, err := c.Write(data); err != nil {
			return nil, err
		}
		answer := make([]byte, 1<<16)
		n, err := c.Read(answer)
		return answer[:n], err
	}
	if to != "" {
		host, digits, _ := net.SplitHostPort(to)
		port, _ := strconv.ParseUint(digits, 10, 16)
		ask := append([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(host))}, host...)
		if _, err := c.Write(binary.BigEndian.AppendUint16(ask, uint16(port))); err != nil {
			return nil, err
		}
		var answer [12]byte
		if _, err := io.ReadFull(c, answer[:]); err != nil || answer[3] != 0 {
			return nil, fmt.Errorf("the proxy said % x, %v", answer, err)
		}
	}
	go func() {
		_, _ = c.Write(data)
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	return io.ReadAll(c)
}

// udpecho VAR: the port of a program that sends back each datagram.
func cmdUDPEcho(ts *testscript.TestScript, _ bool, args []string) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { c.Close() })
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(buf[:n], from)
		}
	}()
	ts.Setenv(args[0], strconv.Itoa(c.LocalAddr().(*net.UDPAddr).Port))
}

// lost udp ADDR FILE: the file goes there as a datagram; nobody looks for an answer.
func cmdLost(ts *testscript.TestScript, _ bool, args []string) {
	c, err := net.Dial(args[0], args[1])
	ts.Check(err)
	defer c.Close()
	_, err = c.Write([]byte(ts.ReadFile(args[2])))
	ts.Check(err)
}

// awaitforward HOME TEXT: until one of the home's forwards has an error with the text.
func cmdAwaitForward(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := daemon.NewClient(daemon.HomeAt(ts.MkAbs(args[0])).Socket)
	for {
		list, err := c.Forwards(ctx)
		ts.Check(err)
		for _, f := range list.Forwards {
			if f.Error != nil && strings.Contains(f.Error.Error(), args[1]) {
				return
			}
		}
		<-time.After(20 * time.Millisecond)
	}
}

// interrupt NAME: Ctrl-C to the background command of that name, which ends with 130.
func cmdInterrupt(ts *testscript.TestScript, _ bool, args []string) {
	for _, cmd := range ts.BackgroundCmds() {
		if strings.Contains(strings.Join(cmd.Args, " ")+" ", " listen "+args[0]+" ") {
			ts.Check(cmd.Process.Signal(os.Interrupt))
			return
		}
	}
	ts.Fatalf("nothing listens as %s", args[0])
}
