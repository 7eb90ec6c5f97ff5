//go:build amd64 || arm64

package offload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"traverse.internal/internal/netlab"
)

// alone opens a relay in a network of its own; nil: the test has been done there.
func alone(t *testing.T, config Config) *Relay {
	t.Helper()
	if !netlab.Alone(t) {
		return nil
	}
	r, err := Open(config)
	if err != nil {
		t.Skipf("MISSING: eBPF in this kernel: %v", err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

var flow4 = Flow{
	Client: at("10.1.0.2:40001"), Server: at("10.1.0.1:3478"), Relayed: at("10.2.0.1:50001"), Peer: at("10.2.0.2:9999"), Channel: 0x4001,
}

var flow6 = Flow{
	Client: at("[fd01::2]:40001"), Server: at("[fd01::1]:3478"), Relayed: at("[fd02::1]:50001"), Peer: at("[fd02::2]:9999"), Channel: 0x4001,
}

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// put inserts a flow as Insert does, but for the routes, with an MTU of 1500.
func put(t *testing.T, r *Relay, f Flow) {
	t.Helper()
	e := &entry{flow: f, keys: [2]kernelKey{keyOf(f.Client, f.Server, f.Channel), keyOf(f.Peer, f.Relayed, 0)}}
	e.out = [2]route{{1, 1500, f.Peer.Addr()}, {1, 1500, f.Client.Addr()}}
	if err := r.putLocked(1, e, ebpf.UpdateAny); err != nil {
		t.Fatal(err)
	}
	r.flows[1] = e
	r.Renew(1, MaxLease)
}

func channelData(number uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, number)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// TestProgram gives the program what it relays, and all that it leaves.
func TestProgram(t *testing.T) {
	r := alone(t, Config{})
	if r == nil {
		return
	}
	text := []byte("some text")
	message := channelData(0x4001, text)
	edit := func(b []byte, change func([]byte)) []byte {
		b = bytes.Clone(b)
		change(b)
		return b
	}
	f := flow4
	plain := frame(f.Client, f.Server, message, 64)
	plain6 := frame(flow6.Client, flow6.Server, channelData(0x4001, text), 64)
	big := bytes.Repeat([]byte{7}, 1469) // with headers 1497, and 1501 with a channel's
	train := make([]byte, 192)           // struct __sk_buff
	binary.NativeEndian.PutUint32(train[164:], 2)
	partial := func(b []byte) {
		binary.NativeEndian.PutUint16(b[14+20+6:], fold(uint32(flowSum(f))+uint32(wire(uint16(len(b)-34)))))
	}
	for _, c := range []struct {
		name string
		in   []byte
		ctx  []byte
		left string // the reason that counts it; "-": none
		out  []byte // when it is relayed
	}{
		{name: "up", in: plain, out: frame(f.Relayed, f.Peer, text, 63)},
		{name: "down", in: frame(f.Peer, f.Relayed, text, 64), out: frame(f.Server, f.Client, message, 63)},
		{name: "up over IPv6", in: plain6, out: frame(flow6.Relayed, flow6.Peer, text, 63)},
		{name: "down over IPv6", in: frame(flow6.Peer, flow6.Relayed, text, 64), out: frame(flow6.Server, flow6.Client, message, 63)},
		{name: "a peer's data that look like ChannelData", in: frame(f.Peer, f.Relayed, message, 64), out: frame(f.Server, f.Client, channelData(0x4001, message), 63)},
		{name: "no checksum", in: edit(plain, func(b []byte) { clear(b[40:42]) }), out: edit(frame(f.Relayed, f.Peer, text, 63), func(b []byte) { clear(b[40:42]) })},
		{name: "the largest up", in: frame(f.Client, f.Server, channelData(0x4001, big), 64), out: frame(f.Relayed, f.Peer, big, 63)},

		{name: "STUN", in: frame(f.Client, f.Server, make([]byte, 20), 64), left: "-"},
		{name: "another channel", in: frame(f.Client, f.Server, channelData(0x4002, text), 64), left: "-"},
		{name: "another client", in: frame(at("10.1.0.2:40002"), f.Server, message, 64), left: "-"},
		{name: "another listener", in: frame(f.Client, at("10.1.0.1:3479"), message, 64), left: "-"},
		{name: "an unknown peer", in: frame(at("10.2.0.3:9999"), f.Relayed, text, 64), left: "-"},
		{name: "an unknown port of a peer", in: frame(at("10.2.0.2:9998"), f.Relayed, text, 64), left: "-"},
		{name: "ARP", in: edit(plain, func(b []byte) { b[13] = 6 }), left: "-"},
		{name: "TCP", in: edit(plain, func(b []byte) { b[23] = 6 }), left: "-"},
		{name: "for another host", in: edit(plain, func(b []byte) { b[0] = 2 }), left: "-"},
		{name: "IPv6 with an extension header", in: edit(plain6, func(b []byte) { b[20] = 60 }), left: "-"},

		{name: "padded", in: frame(f.Client, f.Server, append(bytes.Clone(message), 0, 0, 0), 64), left: "shape"},
		{name: "shorter than it says", in: frame(f.Client, f.Server, message[:len(message)-1], 64), left: "shape"},
		{name: "payload of 3 bytes", in: frame(f.Client, f.Server, channelData(0x4001, text[:3]), 64), left: "shape"},
		{name: "empty", in: frame(f.Client, f.Server, channelData(0x4001, nil), 64), left: "shape"},
		{name: "3 bytes of a peer", in: append(frame(f.Peer, f.Relayed, text[:3], 64), 0, 0, 0), left: "shape"},
		{name: "a UDP length beyond IP's", in: edit(plain, func(b []byte) { b[39] += 4 }), left: "shape"},
		{name: "IP options", in: edit(plain, func(b []byte) { b[14] = 0x46 }), left: "options"},
		{name: "first fragment", in: edit(plain, func(b []byte) { b[20] = 0x20 }), left: "fragment"},
		{name: "last fragment", in: edit(plain, func(b []byte) { b[21] = 1 }), left: "fragment"},
		{name: "a train", in: plain, ctx: train, left: "train"},
		{name: "the last hop", in: edit(plain, func(b []byte) { b[22] = 1 }), left: "hops"},
		{name: "too long with the header", in: frame(f.Peer, f.Relayed, big, 64), left: "mtu"},
		{name: "a checksum that a device fills in", in: edit(plain, partial), left: "checksum"},
		{name: "no checksum over IPv6", in: edit(plain6, func(b []byte) { clear(b[60:62]) }), left: "checksum"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, f := range []Flow{flow6, flow4} { // both under handle 1
				put(t, r, f)
			}
			before := r.Stats()
			var ctx any
			if c.ctx != nil {
				ctx = c.ctx
			}
			out, action, err := r.run(c.in, ctx)
			if err != nil {
				t.Fatal(err)
			}
			after := r.Stats()
			if c.out != nil {
				if action != actRedirect || !bytes.Equal(out, c.out) {
					t.Fatalf("got %d\n%x, want\n%x", int32(action), out, c.out)
				}
				return
			}
			if action != actUp || !bytes.Equal(out, c.in) {
				t.Fatalf("got %d\n%x, want it left alone\n%x", int32(action), out, c.in)
			}
			for reason, n := range after.Left {
				want := before.Left[reason]
				if reason == c.left {
					want++
				}
				if n != want {
					t.Errorf("left for %s: got %d, want %d", reason, n, want)
				}
			}
		})
	}
}

// flowSum is the pseudo header's, without the length.
func flowSum(f Flow) uint16 {
	return flowOf(f.Client, f.Server, f.Relayed, f.Peer, 0).Pseudo
}

// TestEnds runs one packet through everything that ends a flow.
func TestEnds(t *testing.T) {
	r := alone(t, Config{})
	if r == nil {
		return
	}
	packet := frame(flow4.Client, flow4.Server, channelData(0x4001, make([]byte, 100)), 64)
	relayed := func(want bool, reason string) {
		t.Helper()
		before := r.Stats().Left[reason]
		_, action, err := r.run(packet, nil)
		if err != nil || (action == actRedirect) != want {
			t.Fatalf("relayed: got %d %v, want %v", int32(action), err, want)
		}
		if got := r.Stats().Left[reason] - before; !want && got != 1 {
			t.Fatalf("left for %s: got %d, want 1", reason, got)
		}
	}
	put(t, r, flow4)
	relayed(true, "")
	r.Renew(1, 0)
	relayed(false, "expired")
	r.Renew(1, time.Hour)
	if left := time.Duration(r.leases[2].Until - monotonic()); left > MaxLease {
		t.Errorf("a lease: got %v, want %v at most", left, MaxLease)
	}
	relayed(true, "")
	r.Invalidate()
	relayed(false, "epoch")
	r.Renew(1, MaxLease)
	relayed(true, "")

	bucket, ok := r.NewBucket()
	if !ok {
		t.Fatal("no bucket")
	}
	r.Meter(1, bucket, 0)
	relayed(false, "quota")
	r.Grant(bucket, 350)
	for range 3 {
		relayed(true, "")
	}
	relayed(false, "quota")
	if got := r.Grant(bucket, 60); got != 110 {
		t.Errorf("after a grant: got %d, want 110", got)
	}
	relayed(true, "")
	relayed(false, "quota")
	r.Meter(1, 0, 0)
	relayed(true, "")

	counts := r.Counts(1)
	if want := (Both{Up: Counts{8, 800}}); counts != want {
		t.Errorf("counts: got %+v, want %+v", counts, want)
	}
	r.Stop(1)
	if _, action, _ := r.run(packet, nil); action != actUp {
		t.Error("relayed after Stop")
	}
	r.Renew(1, MaxLease)
	if _, action, _ := r.run(packet, nil); action != actUp {
		t.Error("relayed after Stop and Renew")
	}
	if got := r.Counts(1); got != counts {
		t.Errorf("counts after Stop: got %+v, want %+v", got, counts)
	}
	r.Release(1)
	if got := r.Stats().Flows; got != 0 {
		t.Errorf("flows: got %d, want 0", got)
	}
}

// TestInsertRefuses what cannot be relayed in the kernel.
func TestInsertRefuses(t *testing.T) {
	r := alone(t, Config{})
	if r == nil {
		return
	}
	with := func(change func(*Flow)) Flow {
		f := flow4
		change(&f)
		return f
	}
	for _, c := range []struct {
		name string
		flow Flow
		want error
	}{
		{"no way", flow4, ErrRoute},
		{"IPv4 to IPv6", with(func(f *Flow) { f.Relayed, f.Peer = flow6.Relayed, flow6.Peer }), ErrFamily},
		{"no address", with(func(f *Flow) { f.Peer = netip.AddrPort{} }), ErrFamily},
		{"a wildcard", with(func(f *Flow) { f.Server = at("0.0.0.0:3478") }), ErrScope},
		{"link-local", with(func(f *Flow) { f.Peer = at("169.254.1.1:1") }), ErrScope},
		{"multicast", with(func(f *Flow) { f.Peer = at("224.0.0.1:1") }), ErrScope},
		{"port 0", with(func(f *Flow) { f.Peer = at("10.2.0.2:0") }), ErrScope},
		{"this machine", with(func(f *Flow) { f.Relayed, f.Peer = at("127.0.0.1:5"), at("127.0.0.1:6") }), ErrLocal},
	} {
		if _, err := r.Insert(c.flow); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	want := map[string]uint64{"route": 1, "family": 2, "scope": 4, "local": 1, "full": 0, "clash": 0, "kernel": 0}
	for name, n := range r.Stats().Refused {
		if n != want[name] {
			t.Errorf("refused for %s: got %d, want %d", name, n, want[name])
		}
	}
}
