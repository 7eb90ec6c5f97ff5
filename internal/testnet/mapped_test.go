package testnet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"traverse.internal/core/portmap"
)

// port is one that a station listens on, and asks its router for. What comes there is sent back.
type port struct {
	Protocol portmap.Protocol
	V6       bool
	Port     uint16
}

func (p port) String() string {
	if p.V6 {
		return p.Protocol.String() + " over IPv6"
	}
	return p.Protocol.String() + " over IPv4"
}

func (p port) network() string {
	network := map[portmap.Protocol]string{portmap.TCP: "tcp", portmap.UDP: "udp"}[p.Protocol]
	if p.V6 {
		return network + "6"
	}
	return network + "4"
}

// mappedTo is what became of a port.
type mappedTo struct {
	At    netip.AddrPort
	How   portmap.How
	Error string
}

// kept is a port that is asked for, and the network that changes when the test says so.
type kept struct {
	*portmap.Mapper
	mu      sync.Mutex
	changes chan struct{}
	looked  chan struct{} // a value for each time that the mapper begins to ask
}

// changed makes the next channel before it says so: who was told closes that one. It never waits, as a mapper may begin by its clock, too.
func (k *kept) changed() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changes = make(chan struct{})
	select {
	case k.looked <- struct{}{}:
	default:
	}
	return k.changes
}

// askPatience is longer than a mapper asks for, also of several routers in turn.
const askPatience = 30 * time.Second

// again lets the mapper ask anew, and returns when it has: it begins once more.
func (k *kept) again() error {
	for range 2 {
		k.mu.Lock()
		select {
		case <-k.looked: // of a beginning by its clock
		default:
		}
		close(k.changes)
		k.mu.Unlock()
		select {
		case <-k.looked:
		case <-time.After(askPatience):
			return errors.New("the mapper does not ask any more")
		}
	}
	return nil
}

// beMapped keeps ports mapped: it says "ready", and "ports" after each time that it was told to ask "again".
func beMapped(ports []port) error {
	w := &wire{in: bufio.NewReader(os.Stdin), out: os.Stdout}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	var all []*kept
	for _, p := range ports {
		if err := listenAndEcho(p); err != nil {
			return err
		}
		k := &kept{looked: make(chan struct{}, 1)}
		k.Mapper = portmap.New(portmap.Config{Protocol: p.Protocol, Port: p.Port, V6: p.V6, Changed: k.changed})
		all = append(all, k)
		running.Go(func() { _ = k.Serve(ctx) })
		<-k.looked
	}
	w.write(message{Kind: "ready"})
	for {
		m, err := w.read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || m.Kind != "again" {
			return fmt.Errorf("told %q: %w", m.Kind, err)
		}
		out := message{Kind: "ports"}
		for _, k := range all {
			err := k.again()
			at, how := k.Mapped()
			said := mappedTo{At: at, How: how}
			if err = errors.Join(err, k.Err()); err != nil {
				said.Error = err.Error()
			}
			out.Mapped = append(out.Mapped, said)
		}
		w.write(out)
	}
}

func listenAndEcho(p port) error {
	at := fmt.Sprintf(":%d", p.Port)
	if p.Protocol == portmap.TCP {
		ln, err := net.Listen(p.network(), at)
		if err != nil {
			return err
		}
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = io.Copy(conn, conn)
					conn.Close()
				}()
			}
		}()
		return nil
	}
	conn, err := net.ListenPacket(p.network(), at)
	if err != nil {
		return err
	}
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(b[:n], from)
		}
	}()
	return nil
}

// echoed sends a word to an address and waits for it to come back.
func echoed(network string, to netip.AddrPort, patience time.Duration) error {
	conn, err := net.DialTimeout(network, to.String(), patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	for end := time.Now().Add(patience); ; {
		if _, err = conn.Write([]byte("word")); err != nil {
			return err
		}
		wait := patience
		if network[:3] == "udp" {
			wait = patience / 10 // a datagram may get lost
		}
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		if _, err = io.ReadFull(conn, make([]byte, 4)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(end) || network[:3] != "udp" {
			return err
		}
	}
}
