package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"traverse.internal/core/stun"
)

// flows are clients of a relay, each with a channel to one peer. The peers have an address and no sockets: what comes to them,
// and on channels to the clients, is counted and dropped at the door.
type flows struct {
	relay   relay
	family  int
	clients []*turnClient
	since   time.Time
}

type flowKey struct {
	relay  string
	family int
	flows  int
}

// flowsFor is less than the five minutes that permissions last (RFC 8656 §9).
const flowsFor = 3 * time.Minute

// sinkPort is the peers'. All flows go to one peer, each from a relayed address of its own.
const sinkPort = 9999

// flowsOf returns flows through a relay, those of an earlier row where they are still good.
func (p *pool) flowsOf(r relay, family, n int) (*flows, error) {
	key := flowKey{r.name, family, n}
	if f := p.flows[key]; f != nil {
		if time.Since(f.since) < flowsFor {
			return f, nil
		}
		f.release()
		delete(p.flows, key)
	}
	if r.name == pion && family == v6 {
		return nil, fmt.Errorf("%s has no IPv6", r.name)
	}
	f := &flows{relay: r, family: family, since: time.Now()}
	for range n {
		client, err := bindChannel(r.host.client[family], r.at(family), netip.AddrPortFrom(r.host.sink[family], sinkPort))
		if err != nil {
			f.release()
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		f.clients = append(f.clients, client)
	}
	p.flows[key] = f
	return f, f.check()
}

// check has one packet go to a peer, to see that they are relayed as they are.
func (f *flows) check() error {
	h := f.relay.host
	peer, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.peer[f.family], 0)))
	if err != nil {
		return err
	}
	defer peer.Close()
	at := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	c, err := bindChannel(h.client[f.family], f.relay.at(f.family), netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
	if err != nil {
		return err
	}
	defer c.release()
	sent := []byte("\x00as it is") // the first bits are not ChannelData's: the door would take it for that
	buf := make([]byte, 1500)
	for range 5 {
		if _, err = c.conn.Write(append(stun.AppendChannelDataHeader(nil, benchChannel, len(sent)), sent...)); err != nil {
			continue
		}
		if err = peer.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		var n int
		if n, err = peer.Read(buf); err == nil {
			if !bytes.Equal(buf[:n], sent) {
				return fmt.Errorf("%s relayed %q as %q", f.relay.name, sent, buf[:n])
			}
			return nil
		}
	}
	return fmt.Errorf("%s relays nothing: %w", f.relay.name, err)
}

// release ends the allocations, drop only the sockets, when the relay ends anyway.
func (f *flows) release() {
	for _, c := range f.clients {
		c.release()
	}
}

func (f *flows) drop() {
	for _, c := range f.clients {
		c.conn.Close()
	}
}

// frames are what a shape's load is made of, one frame for each flow.
func (f *flows) frames(s flowShape) [][]byte {
	h := f.relay.host
	sink := netip.AddrPortFrom(h.sink[f.family], sinkPort)
	var packet []byte
	if s.up {
		packet = stun.AppendChannelDataHeader(nil, benchChannel, s.size)
	}
	packet = append(packet, make([]byte, s.size)...)
	segment := 0
	if s.burst > 1 {
		segment = len(packet)
	}
	payload := bytes.Repeat(packet, s.burst)
	var list [][]byte
	for _, c := range f.clients {
		from, to := sink, c.relayed
		if s.up {
			from, to = c.conn.LocalAddr().(*net.UDPAddr).AddrPort(), f.relay.at(f.family)
			from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		}
		list = append(list, h.frame(from, to, payload, segment))
	}
	return list
}

// measure loads a relay and counts what comes out.
func (p *pool) measure(ctx context.Context, r relay, s flowShape, load time.Duration) (measured, error) {
	var m measured
	f, err := p.flowsOf(r, s.family, s.flows)
	if err != nil {
		return m, err
	}
	if s.burst > 1 {
		if err := r.host.trains(!s.cut); err != nil {
			return m, err
		}
	}
	d, err := f.driver(s)
	if err != nil {
		return m, err
	}
	defer d.way.close()
	if r.name == oursTC {
		if err := inKernel(ctx, p, r, s.flows); err != nil {
			return m, err
		}
	}
	if err := d.run(ctx, load/10); err != nil {
		return m, err
	}
	p0, b0, err := r.host.settled(s.up, -1)
	if err != nil {
		return m, err
	}
	softirq := softirqd()
	before, err := r.cpu()
	if err != nil {
		return m, err
	}
	if err := d.run(ctx, load); err != nil {
		return m, err
	}
	m.sent, m.took, m.load = d.sent*int64(s.burst), d.took, d.cpu
	p1, b1, err := r.host.settled(s.up, p0)
	if err != nil {
		return m, err
	}
	after, err := r.cpu()
	if err != nil {
		return m, err
	}
	m.relay, m.softirq = after-before, softirqd()-softirq
	if s.whole {
		if err := m.slices(ctx, p, r, s, d, load/10); err != nil {
			return m, err
		}
	}
	// A train is one packet at the door, with one header of IP and UDP.
	headers, length := int64(28), int64(s.size)
	if s.family == v6 {
		headers = 48
	}
	if !s.up {
		length += 4
	}
	if m.arrived = ((b1 - b0) - (p1-p0)*headers) / length; m.arrived == 0 {
		return m, fmt.Errorf("nothing arrived through %s", r.name)
	}
	return m, nil
}

// driver is what sends a shape's load.
func (f *flows) driver(s flowShape) (*driver, error) {
	h := f.relay.host
	d := &driver{frames: f.frames(s), rate: float64(s.rate) / float64(s.burst)}
	if s.card {
		if h.in == nil {
			return nil, fmt.Errorf("%w: %w", errMissing, h.noCard)
		}
		for i := range d.frames {
			d.frames[i] = d.frames[i][vnetHeader:]
		}
		l, err := h.in.load(d.frames, len(d.frames[0])-s.size)
		if err != nil {
			return nil, err
		}
		d.way, d.ns = l, h.ns
		return d, nil
	}
	w, err := h.openWire()
	if err != nil {
		return nil, err
	}
	d.way = w
	if len(d.frames) == 1 {
		d.frames = slices.Repeat(d.frames, wireBatch)
	}
	return d, nil
}

// settled returns the door's counter when it no longer moves.
func (h *host) settled(up bool, last int64) (packets, octets int64, err error) {
	for range 50 {
		if packets, octets, err = h.door(up); err != nil || packets == last {
			return packets, octets, err
		}
		last = packets
		time.Sleep(10 * time.Millisecond)
	}
	return packets, octets, nil
}

// A way is how frames come to a relay's machine.
type way interface {
	// send writes some of the frames, and returns how many.
	send(frames [][]byte) (int, error)
	close()
}

// A driver writes frames, in turns, on a thread of its own core.
type driver struct {
	way    way
	ns     *os.File // where the thread has to be; nil: here
	frames [][]byte
	rate   float64 // frames a second; 0: as many as go

	// Of the last run.
	sent int64
	took time.Duration
	cpu  float64 // seconds of the thread
}

// catchUp is how many frames may be sent late at once; what is later than that, because the machine did something else, is
// not sent.
const catchUp = 32

func (d *driver) run(ctx context.Context, load time.Duration) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return pinned(loadCPU, func() error { return inside(d.ns, func() error { return d.account(ctx, load) }) })
}

// account counts what a load takes of the thread.
func (d *driver) account(ctx context.Context, load time.Duration) error {
	cpu, err := clockSeconds(unix.CLOCK_THREAD_CPUTIME_ID)
	if err != nil {
		return err
	}
	began := time.Now()
	err = d.loop(ctx, began, load)
	d.took = time.Since(began)
	after, cerr := clockSeconds(unix.CLOCK_THREAD_CPUTIME_ID)
	d.cpu = after - cpu
	if err == nil {
		err = cerr
	}
	return err
}

func (d *driver) loop(ctx context.Context, began time.Time, load time.Duration) error {
	d.sent = 0
	skipped, next := int64(0), 0
	for rounds := 0; ; rounds++ {
		elapsed := time.Since(began)
		if elapsed >= load {
			return nil
		}
		n := wireBatch
		if d.rate > 0 {
			due := int64(elapsed.Seconds()*d.rate) - d.sent - skipped
			if due <= 0 {
				continue
			}
			if due > catchUp {
				skipped += due - catchUp
				due = catchUp
			}
			n = int(due)
		}
		if rounds%64 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n = min(n, len(d.frames)-next)
		k, err := d.way.send(d.frames[next : next+n])
		if err != nil {
			return err
		}
		d.sent += int64(k)
		next = (next + k) % len(d.frames)
	}
}
