package udp

import (
	"bytes"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Datagrams of one length to one place travel as a train, and arrive as they were sent; a socket that takes trains gets them
// with few calls.
func TestTrains(t *testing.T) {
	if !trains() {
		t.Skip("the kernel has no UDP_SEGMENT")
	}
	for _, l := range loopbacks {
		for _, taker := range []bool{false, true} {
			a := mustListen(t, l.addr)
			b := mustListenWith(t, l.addr, Options{RecvBuffer: 1 << 20, Trains: taker})
			sizes := []int{100, 100, 100, 40, 100, 100, 0, 0, 7, 7, 1200, 1200, 1200}
			for i, size := range sizes {
				a.out.Add(bytes.Repeat([]byte{byte(i)}, size), Route{To: b.LocalAddr()})
			}
			if dropped := a.Send(a.out); dropped != (Drops{}) {
				t.Fatal(dropped)
			}
			packets, _ := b.collect(len(sizes))
			for i, size := range sizes {
				if !bytes.Equal(packets[i], bytes.Repeat([]byte{byte(i)}, size)) {
					t.Errorf("%s, %v: datagram %d: %d bytes of %x, want %d", l.name, taker, i, len(packets[i]), packets[i][:min(1, len(packets[i]))], size)
				}
			}
			out, in := a.stats.Load(), b.stats.Load()
			if out.TrainsOut != 4 || out.SendCalls != 1 || out.Sent != uint64(len(sizes)) {
				t.Errorf("%s: sent %+v", l.name, out)
			}
			if want := map[bool]uint64{true: 4}[taker]; in.TrainsIn != want || in.Received != uint64(len(sizes)) {
				t.Errorf("%s: received %+v, want %d trains", l.name, in, want)
			}
		}
	}
}

// Heads and padding that lie elsewhere are put around each datagram of a train.
func TestTrainsOfParts(t *testing.T) {
	a, b := mustListen(t, loopbacks[0].addr), mustListenWith(t, loopbacks[0].addr, Options{Trains: true})
	body := []byte("body")
	for i := range 40 {
		head := a.out.Head(5)
		copy(head, "head")
		head[4] = byte(i)
		a.out.AddParts(Route{To: b.LocalAddr()}, head, body, 3)
	}
	if dropped := a.Send(a.out); dropped != (Drops{}) {
		t.Fatal(dropped)
	}
	packets, _ := b.collect(40)
	for i, p := range packets {
		if want := "head" + string(rune(i)) + "body\x00\x00\x00"; string(p) != want {
			t.Errorf("%d: got %q, want %q", i, p, want)
		}
	}
	if n := a.stats.Load(); haveTrains && n.TrainsOut != 1 {
		t.Errorf("%+v", n)
	}
}

// A train whose datagrams are longer than the interface takes is refused by the kernel, and goes out one by one.
func TestTrainsFallBack(t *testing.T) {
	if !trains() {
		t.Skip("the kernel has no UDP_SEGMENT")
	}
	a, b := mustListen(t, loopbacks[0].addr), mustListen(t, loopbacks[0].addr)
	// Without checksums the kernel makes no trains: EINVAL.
	if err := unix.SetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
		t.Fatal(err)
	}
	var want [][]byte
	for i := range 10 {
		want = append(want, bytes.Repeat([]byte{byte(i)}, 1000))
	}
	if dropped := a.send(b.LocalAddr(), want...); dropped != (Drops{}) {
		t.Errorf("dropped %v", dropped)
	}
	got, _ := b.collect(10)
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("datagram %d differs", i)
		}
	}
	if n := a.stats.Load(); n.Fallbacks != 1 || n.SendCalls != 2 || n.Sent != 10 {
		t.Errorf("%+v", n)
	}
}

func TestTrafficClass(t *testing.T) {
	for _, l := range loopbacks {
		a, b := mustListen(t, l.addr), mustListenWith(t, l.addr, Options{TOS: true})
		classes := []uint8{0, 0xb8 | 2, 0xb8 | 2, 3, 0}
		for _, c := range classes {
			a.out.Add([]byte("x"), Route{To: b.LocalAddr(), TOS: c})
		}
		a.Send(a.out)
		for got := 0; got < len(classes); {
			in := b.recv()
			for i := range in.Len() {
				if in.TOS(i) != classes[got] {
					t.Errorf("%s, datagram %d: %#x, want %#x", l.name, got, in.TOS(i), classes[got])
				}
				got++
			}
		}
	}
}

// Who is told that a port is closed loses nothing to others by it.
func TestErrorsComeBack(t *testing.T) {
	for _, l := range loopbacks {
		a, b, gone := mustListenWith(t, l.addr, Options{Errors: true}), mustListen(t, l.addr), mustListen(t, l.addr)
		gone.Close()
		for range 3 {
			a.out.Add([]byte("anybody?"), Route{To: gone.LocalAddr()})
			a.out.Add([]byte("you"), Route{To: b.LocalAddr()})
		}
		if dropped := a.Send(a.out); dropped != (Drops{}) {
			t.Errorf("%s: dropped %v", l.name, dropped)
		}
		b.collect(3)
		var ready [1]Ready
		if n, err := a.poller.Wait(ready[:]); err != nil || n != 1 || !ready[0].Failed {
			t.Fatalf("Wait: %d %+v, %v", n, ready[0], err)
		}
		want := ICMPError{Peer: gone.LocalAddr(), Type: 3, Code: 3}
		if !l.addr.Addr().Is4() {
			want.Type, want.Code = 1, 4
		}
		if e, ok := a.NextError(a.in); !ok || e != want {
			t.Errorf("got %+v, %v, want %+v", e, ok, want)
		}
	}
}

// KeepWhole has what is too long for the path come back instead of going out in pieces.
func TestKeepWhole(t *testing.T) {
	big := make([]byte, 65507) // more than loopback's 65,536 with the headers of IPv6, and not of IPv4
	a := mustListenWith(t, loopbacks[1].addr, Options{Errors: true, Fragment: true})
	b := mustListen(t, loopbacks[1].addr)
	a.KeepWhole(true)
	if dropped := a.send(b.LocalAddr(), big); dropped.TooBig != 1 {
		t.Errorf("whole: dropped %v", dropped)
	}
	if e, ok := a.NextError(a.in); !ok || e.Type != 2 || e.MTU == 0 {
		t.Errorf("got %+v, %v", e, ok)
	}
	a.KeepWhole(false)
	if dropped := a.send(b.LocalAddr(), big); dropped != (Drops{}) {
		t.Errorf("in pieces: dropped %v", dropped)
	}
	if got, _ := b.collect(1); len(got[0]) != len(big) {
		t.Errorf("%d bytes", len(got[0]))
	}
}

func places(p *Poller) int { return len(p.slots) }

// smallPath has the test run where loopback takes datagrams of 1,280 bytes.
func smallPath(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace: %v", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, request := range []struct {
		number uint
		value  uint32
	}{{unix.SIOCSIFMTU, 1280}, {unix.SIOCSIFFLAGS, unix.IFF_UP | unix.IFF_LOOPBACK}} {
		ifr, err := unix.NewIfreq("lo")
		if err != nil {
			t.Fatal(err)
		}
		if ifr.SetUint32(request.value); request.number == unix.SIOCSIFFLAGS {
			ifr.SetUint16(uint16(request.value))
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request.number), uintptr(unsafe.Pointer(ifr))); errno != 0 {
			t.Fatal(errno)
		}
	}
}

// Where the path takes less than a datagram, trains are sent one by one, in pieces; what must stay whole is dropped, and the
// sender told how long it may be. Others in the batch do not suffer.
func TestSmallPath(t *testing.T) {
	trains() // asked before: it is the same everywhere
	smallPath(t)
	for _, l := range loopbacks {
		a, b := mustListenWith(t, l.addr, Options{Errors: true, Fragment: true}), mustListen(t, l.addr)
		long, short := make([]byte, 1400), make([]byte, 1000)
		batch := [][]byte{long, long, long, short, short, long}
		if dropped := a.send(b.LocalAddr(), batch...); dropped != (Drops{}) {
			t.Errorf("%s: dropped %v", l.name, dropped)
		}
		got, _ := b.collect(len(batch))
		for i := range batch {
			if len(got[i]) != len(batch[i]) {
				t.Errorf("%s, datagram %d: %d bytes, want %d", l.name, i, len(got[i]), len(batch[i]))
			}
		}
		if n := a.stats.Load(); haveTrains && n.Fallbacks == 0 {
			t.Errorf("%s: %+v", l.name, n)
		}
		for { // IPv6 has learned something already
			if _, ok := a.NextError(a.in); !ok {
				break
			}
		}
		a.KeepWhole(true)
		if dropped := a.send(b.LocalAddr(), batch...); dropped.TooBig != 4 || dropped.Total() != 4 {
			t.Errorf("%s, whole: dropped %v, want 4 too big", l.name, dropped)
		}
		if got, _ := b.collect(2); len(got[0]) != 1000 || len(got[1]) != 1000 {
			t.Errorf("%s, whole: got %d and %d bytes", l.name, len(got[0]), len(got[1]))
		}
		if e, ok := a.NextError(a.in); !ok || e.MTU != 1280 || e.Peer.Addr() != b.LocalAddr().Addr() {
			t.Errorf("%s, whole: %+v, %v", l.name, e, ok)
		}
	}
}
