package main

import (
	"context"
	"net/netip"
	"sync"

	"traverse.internal/metrics"
)

// endpoint is the metrics server, which a reload can put on another address.
type endpoint struct {
	sources metrics.Sources
	changed chan struct{} // there is another one

	mu        sync.Mutex      // guards the fields below
	now, next *metrics.Server // nil: none
}

// open listens on an address, beside the one that is served. "": it will be none.
func (e *endpoint) open(listen, webConfig string) error {
	var s *metrics.Server
	if listen != "" {
		src := e.sources
		src.WebConfig = webConfig
		var err error
		if s, err = metrics.Listen(listen, src); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next = s
	return nil
}

// use puts what open made in the place of what is served.
func (e *endpoint) use() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now, e.next = e.next, nil
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// drop closes what open made.
func (e *endpoint) drop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next != nil {
		_ = e.next.Close()
	}
	e.next = nil
}

// addrs are those that are listened on, and no relay may reach.
func (e *endpoint) addrs() (list []netip.AddrPort) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range []*metrics.Server{e.now, e.next} {
		if s == nil {
			continue
		}
		if at, err := netip.ParseAddrPort(s.Addr().String()); err == nil {
			list = append(list, at)
		}
	}
	return list
}

// addr is where it is served; "": nowhere.
func (e *endpoint) addr() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.now == nil {
		return ""
	}
	return e.now.Addr().String()
}

// close gives the address back when Serve has not been called.
func (e *endpoint) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.now != nil {
		_ = e.now.Close()
	}
}

// Serve serves what there is, one after another, until ctx ends or one of them breaks.
func (e *endpoint) Serve(ctx context.Context) error {
	for ctx.Err() == nil {
		e.mu.Lock()
		s := e.now
		select {
		case <-e.changed: // it is s
		default:
		}
		e.mu.Unlock()
		part, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		if s != nil {
			go func() { ended <- s.Serve(part) }()
		}
		var err error
		select {
		case <-ctx.Done():
		case <-e.changed:
		case err = <-ended:
			ended <- nil
		}
		stop()
		if s != nil {
			<-ended
		}
		if err != nil {
			return err
		}
	}
	return nil
}
