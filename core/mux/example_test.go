package mux_test

import (
	"context"
	"fmt"
	"io"
	"net"

	"traverse.internal/core/mux"
)

// Two sides of a link; one opens a channel and asks, the other answers.
func Example() {
	called, calling := net.Pipe() // stands for a tls.Link
	ctx := context.Background()

	served := make(chan struct{})
	go func() {
		defer close(served)
		opening, _ := mux.Receive(called)
		session, _ := mux.Answer(called, opening, mux.Config{})
		defer session.Close()
		request, _ := session.Accept(ctx)
		channel, _ := request.Accept()
		question, _ := io.ReadAll(channel)
		fmt.Fprintf(channel, "%s: you said %q", request.Name(), question)
		channel.Close()
		<-session.Done()
	}()

	session, err := mux.Start(calling, mux.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	channel, err := session.Open(ctx, "echo")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprint(channel, "hello")
	channel.CloseWrite()
	answer, err := io.ReadAll(channel)
	fmt.Println(string(answer), err)
	channel.Close()
	session.Close()
	<-served
	// Output: echo: you said "hello" <nil>
}
