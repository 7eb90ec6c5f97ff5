package tls_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"traverse.internal/core/tls"
	"traverse.internal/identity"
)

func Example() {
	laptop, _ := identity.New()
	phone, _ := identity.New()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	a, b := net.Pipe()

	done := make(chan struct{})
	go func() {
		defer close(done)
		link, err := tls.AsClient(ctx, a, nil, laptop, phone.ID())
		if err != nil {
			fmt.Println(err)
			return
		}
		_, _ = link.Write([]byte("hello"))
		link.Close()
	}()

	link, err := tls.AsServer(ctx, b, nil, phone, laptop.ID())
	if err != nil {
		fmt.Println(err)
		return
	}
	text, _ := io.ReadAll(link)
	fmt.Println(link.Peer() == laptop.ID(), string(text))
	<-done
	// Output: true hello
}
