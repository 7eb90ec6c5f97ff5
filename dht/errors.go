package dht

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

var (
	// ErrClosed is returned by a Node that was closed.
	ErrClosed = fmt.Errorf("dht: node %w", net.ErrClosed)
	// ErrNotFound says that nodes answered and none had the item.
	ErrNotFound = errors.New("dht: item not found")
	// ErrNoNodes says that no node answered at all.
	ErrNoNodes = errors.New("dht: no node answers")
	// ErrNotStored says that no node took the item.
	ErrNotStored = errors.New("dht: no node stored the item")
	// ErrPinned says that the slot holds the highest sequence number there is, so that nothing can follow it.
	ErrPinned = errors.New("dht: slot is pinned by the highest sequence number")

	errAddress = errors.New("dht: address refused")
	errBudget  = errors.New("dht: budget of find_node queries is spent")
)

// A ListenError says that the UDP address could not be opened.
type ListenError struct {
	Addr netip.AddrPort
	Err  error
}

func (e *ListenError) Error() string {
	if e.InUse() {
		return fmt.Sprintf("dht: listen on udp %s: port is in use by another program", e.Addr)
	}
	var sys syscall.Errno
	if errors.As(e.Err, &sys) {
		return fmt.Sprintf("dht: listen on udp %s: %v", e.Addr, sys)
	}
	return fmt.Sprintf("dht: listen on udp %s: %v", e.Addr, e.Err)
}

func (e *ListenError) Unwrap() error { return e.Err }

// InUse reports whether another program, or another node of this one, has the port.
func (e *ListenError) InUse() bool { return errors.Is(e.Err, syscall.EADDRINUSE) }
