package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"traverse.internal/core/stun"
)

const (
	// batch is how many packets one system call of the load moves, and window how
	// many are under way: enough that the relay always finds some waiting, and
	// little enough for its socket buffer (512 × about 800 bytes of accounting,
	// where coturn and Linux's default allow 208 KiB: 256 is the most that fits).
	batch  = 32
	window = 192
)

// runClosed is what loopback shows: a closed loop.
func runClosed(ctx context.Context, r relay, load time.Duration, shape flowShape) (sample, error) {
	l, err := newUDPLoad(r, shape)
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", r.name, err)
	}
	defer l.close()
	pinSelf()
	warm, cancel := context.WithTimeout(ctx, load/5)
	defer cancel()
	if err := l.run(warm); err != nil {
		return sample{}, err
	}
	l.arrived, l.lost = 0, 0
	timed, cancel := context.WithTimeout(ctx, load)
	defer cancel()
	cost, err := r.cost(func() (float64, error) {
		err := l.run(timed)
		return float64(l.arrived), err
	})
	note := fmt.Sprintf("%.0f kpps, %d lost", float64(l.arrived)/load.Seconds()/1e3, l.lost)
	return sample{[]float64{cost * 1e9}, note}, err
}

// udpLoad sends packets through a relay and takes them at the other end, in a
// closed loop on one thread.
type udpLoad struct {
	flowShape
	peer          *net.UDPConn
	clients       []*turnClient
	send          []ipv4.Message // a window of them, or of bursts
	take          []ipv4.Message
	length        int // of a packet that arrives
	next          int // flow
	arrived, lost int
}

func newUDPLoad(r relay, shape flowShape) (*udpLoad, error) {
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	l := &udpLoad{flowShape: shape, peer: peer}
	for range shape.flows {
		var client *turnClient
		for range 5 { // coturn remembers the ports of clients who left a moment ago
			if client, err = bindChannel(netip.Addr{}, r.addr, peer.LocalAddr().(*net.UDPAddr).AddrPort()); err == nil {
				break
			}
		}
		if err != nil {
			l.close()
			return nil, err
		}
		l.clients = append(l.clients, client)
	}
	var packet []byte
	if shape.up {
		packet = stun.AppendChannelDataHeader(nil, benchChannel, shape.size)
	}
	packet = append(packet, make([]byte, shape.size)...)
	l.length = 4 + 2*shape.size - len(packet) // with a header where it left without
	message := ipv4.Message{Buffers: [][]byte{bytes.Repeat(packet, shape.burst)}}
	if shape.burst > 1 {
		message.OOB = segmentControl(len(packet))
		err = errors.Join(takeBursts(peer), takeBursts(l.clients[0].conn))
	}
	for range window / shape.burst {
		l.send = append(l.send, message)
		l.take = append(l.take, ipv4.Message{Buffers: [][]byte{make([]byte, 1<<16)}})
	}
	return l, err
}

func (l *udpLoad) close() {
	l.peer.Close()
	for _, c := range l.clients {
		c.release()
	}
}

func (l *udpLoad) run(ctx context.Context) error {
	flying := 0
	for ctx.Err() == nil {
		for flying+batch <= window {
			n, err := l.sendSome(batch / l.burst)
			if err != nil && !errors.Is(err, unix.ECONNREFUSED) {
				return err
			}
			flying += n * l.burst
		}
		n, err := l.takeSome(flying)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			// What has not come by now was dropped on the way.
			l.lost += flying - n
			flying = n
		case err != nil:
			return err
		}
		l.arrived += n
		flying = max(0, flying-n)
	}
	return nil
}

// sendSome sends n messages and returns how many it did.
func (l *udpLoad) sendSome(n int) (int, error) {
	send := l.send[:n]
	if !l.up {
		for i := range send {
			send[i].Addr = net.UDPAddrFromAddrPort(l.clients[l.next].relayed)
			l.next = (l.next + 1) % l.flows
		}
		return ipv4.NewPacketConn(l.peer).WriteBatch(send, 0)
	}
	if l.flows == 1 {
		return ipv4.NewPacketConn(l.clients[0].conn).WriteBatch(send, 0)
	}
	for i := range send {
		if _, err := l.clients[l.next].conn.Write(send[i].Buffers[0]); err != nil {
			return i, err
		}
		l.next = (l.next + 1) % l.flows
	}
	return n, nil
}

// takeSome takes what has arrived, and returns how many packets that was.
func (l *udpLoad) takeSome(flying int) (int, error) {
	soon := time.Now().Add(50 * time.Millisecond)
	to := l.peer
	if !l.up {
		to = l.clients[0].conn
	}
	if l.up || l.flows == 1 {
		if err := to.SetReadDeadline(soon); err != nil {
			return 0, err
		}
		n, err := ipv4.NewPacketConn(to).ReadBatch(l.take, 0)
		packets := 0
		for i := range max(n, 0) {
			packets += l.take[i].N / l.length
		}
		return packets, err
	}
	// Those that were sent first come first.
	for i := range batch {
		client := l.clients[(l.next+l.flows-flying+i)%l.flows].conn
		if err := client.SetReadDeadline(soon); err != nil {
			return i, err
		}
		if _, err := client.Read(l.take[0].Buffers[0]); err != nil {
			return i, err
		}
	}
	return batch, nil
}

// segmentControl has the kernel cut a message into packets of a size.
func segmentControl(size int) []byte {
	b := make([]byte, unix.CmsgSpace(2))
	binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(2)))
	binary.NativeEndian.PutUint32(b[8:], unix.IPPROTO_UDP)
	binary.NativeEndian.PutUint32(b[12:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(b[16:], uint16(size))
	return b
}

// takeBursts has the kernel hand over bursts as they are.
func takeBursts(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	})
	return errors.Join(err, failed)
}
