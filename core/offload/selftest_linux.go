//go:build amd64 || arm64

package offload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
)

const (
	actRedirect = 7          // TC_ACT_REDIRECT
	actUp       = 0xffffffff // TC_ACT_UNSPEC
)

// selfTest runs the program on one packet of every kind, with the tables as they are, and compares what comes out byte by
// byte. It knows nothing of interfaces: no packet leaves.
func (r *Relay) selfTest() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range []Flow{
		{ // documentation addresses: RFC 5737 and RFC 3849
			Client: netip.MustParseAddrPort("192.0.2.7:40001"), Server: netip.MustParseAddrPort("192.0.2.1:3478"),
			Relayed: netip.MustParseAddrPort("198.51.100.1:50001"), Peer: netip.MustParseAddrPort("203.0.113.9:9999"), Channel: 0x4abc,
		},
		{
			Client: netip.MustParseAddrPort("[2001:db8::7]:40001"), Server: netip.MustParseAddrPort("[2001:db8::1]:3478"),
			Relayed: netip.MustParseAddrPort("[2001:db8:1::1]:50001"), Peer: netip.MustParseAddrPort("[2001:db8:2::9]:9999"), Channel: 0x4abc,
		},
	} {
		if err := r.tryLocked(f); err != nil {
			return err
		}
	}
	for i := range 4 + len(leftNames) { // these packets were nobody's
		if err := r.objs.Counters.Update(uint32(i), make([]kernelCount, ebpf.MustPossibleCPU()), ebpf.UpdateAny); err != nil {
			return err
		}
	}
	return nil
}

// tryLocked tries a flow in both directions, and after its end.
func (r *Relay) tryLocked(f Flow) error {
	const h = 0 // a handle that nobody gets
	e := &entry{flow: f, keys: [2]kernelKey{up: keyOf(f.Client, f.Server, f.Channel), down: keyOf(f.Peer, f.Relayed, 0)}}
	e.out = [2]route{{1, 1500, f.Peer.Addr()}, {1, 1500, f.Client.Addr()}}
	if err := r.putLocked(h, e, ebpf.UpdateNoExist); err != nil {
		return err
	}
	defer r.parkLocked(e)
	defer func() { clear(r.leases[:2]) }()
	for dir := range 2 {
		r.leases[dir] = kernelLease{Until: monotonic() + uint64(time.Minute)}
	}
	data := []byte("the quick brown fox jumps over the lazy dog")
	message := append([]byte{0x4a, 0xbc, 0, byte(len(data))}, data...)
	toServer, toPeer := frame(f.Client, f.Server, message, 64), frame(f.Relayed, f.Peer, data, 63)
	toRelay, toClient := frame(f.Peer, f.Relayed, data, 64), frame(f.Server, f.Client, message, 63)
	for _, way := range []struct {
		name    string
		in, out []byte
	}{{"up", toServer, toPeer}, {"down", toRelay, toClient}} {
		out, action, err := r.run(way.in, nil)
		switch {
		case err != nil:
			return fmt.Errorf("try the program: %w", err)
		case action != actRedirect || !bytes.Equal(out, way.out):
			return fmt.Errorf("the program does not work in this kernel: a packet %s came out of it otherwise than it should (%d, %x instead of %x)",
				way.name, action, out, way.out)
		}
	}
	for dir := range 2 {
		r.leases[dir].Until = 0
	}
	if _, action, err := r.run(toServer, nil); err != nil || action != actUp {
		return fmt.Errorf("the program does not work in this kernel: it relays what has ended (%d, %w)", action, err)
	}
	return nil
}

// run gives the program a frame, and a context or nil, and returns what has become of it.
func (r *Relay) run(in []byte, context any) (out []byte, action uint32, err error) {
	options := ebpf.RunOptions{Data: in, DataOut: make([]byte, len(in)+64), Repeat: 1, Context: context}
	action, err = r.objs.Relay.Run(&options)
	return options.DataOut, action, err
}

// frame is an Ethernet frame with a UDP datagram in it, for the loopback interface, where trials take place.
func frame(from, to netip.AddrPort, payload []byte, hops byte) []byte {
	length := 8 + len(payload)
	b := make([]byte, 14, 14+40+length)
	src, dst := from.Addr().AsSlice(), to.Addr().AsSlice()
	if from.Addr().Is4() {
		b[12] = 0x08
		head := []byte{0x45, 0x28, 0, 0, 0x12, 0x34, 0x40, 0, hops, 17, 0, 0} // a DSCP, an id, DF
		binary.BigEndian.PutUint16(head[2:], uint16(20+length))
		head = append(append(head, src...), dst...)
		binary.BigEndian.PutUint16(head[10:], ^fold(sumBytes(head)))
		b = append(b, head...)
	} else {
		b[12], b[13] = 0x86, 0xdd
		head := []byte{0x62, 0x81, 0x23, 0x45, 0, 0, 17, hops} // a traffic class, a flow label
		binary.BigEndian.PutUint16(head[4:], uint16(length))
		b = append(append(append(b, head...), src...), dst...)
	}
	udp := binary.BigEndian.AppendUint16(nil, from.Port())
	udp = binary.BigEndian.AppendUint16(udp, to.Port())
	udp = binary.BigEndian.AppendUint16(udp, uint16(length))
	udp = append(append(udp, 0, 0), payload...)
	check := ^fold(sumBytes(src) + sumBytes(dst) + 17 + uint32(length) + sumBytes(udp))
	if check == 0 {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], check)
	return append(b, udp...)
}

func sumBytes(b []byte) (n uint32) {
	for i, x := range b {
		n += uint32(x) << (8 * (1 - i%2))
	}
	return n
}
