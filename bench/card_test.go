package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"traverse.internal/internal/netlab"
)

// TestCardHasRoom: a frame that comes in by a card grows where it is; one from a veth is made anew. What the kernel allocates is
// counted, with a program that has frames grow, and with one that does not.
func TestCardHasRoom(t *testing.T) {
	if !netlab.Alone(t) {
		return
	}
	h, err := newHost(1)
	if err != nil {
		t.Skipf("MISSING: a machine of its own: %v", err)
	}
	if h.noCard != nil {
		t.Skipf("MISSING: a card: %v", h.noCard)
	}
	for _, c := range []struct {
		name  string
		shape flowShape
		anew  bool
	}{
		{"a veth", flowShape{flows: 1, burst: 1, size: 100}, true},
		{"a card", flowShape{flows: 1, burst: 1, size: 100, card: true}, false},
		{"a card, 1000 flows", flowShape{flows: 1000, burst: 1, size: 1200, card: true}, false},
		{"a card over IPv6", flowShape{flows: 1, burst: 1, size: 100, card: true, family: v6}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &flows{relay: relay{host: h}, family: c.shape.family}
			for i := range c.shape.flows {
				f.clients = append(f.clients, &turnClient{relayed: netip.AddrPortFrom(h.relay[c.shape.family], uint16(firstPort+i))})
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			count := allocations(t)
			var made [2]float64 // a packet
			for grow := range made {
				entered := grower(t, h, grow == 1)
				d, err := f.driver(c.shape)
				if err != nil {
					t.Fatal(err)
				}
				before, sent := count(), 0
				if err := inside(d.ns, func() (err error) {
					for next := 0; sent < cardRun && err == nil; {
						var n int
						n, err = d.way.send(d.frames[next:min(next+wireBatch, len(d.frames))])
						sent += n
						next = (next + n) % len(d.frames)
					}
					return err
				}); err != nil {
					t.Fatal(err)
				}
				made[grow] = float64(count()-before) / float64(sent)
				d.way.close()
				if packets, ports := entered(); packets != uint64(sent) || ports != c.shape.flows {
					t.Errorf("%d packets of %d flows entered, %d of %d were sent", packets, ports, sent, c.shape.flows)
				}
			}
			t.Logf("allocations of a packet: %.3f, of one that grows: %.3f", made[0], made[1])
			// 1 or 0, but for packets of others that the kernel handles on this thread.
			if more := made[1] - made[0]; c.anew != (more > 0.5) {
				t.Errorf("a packet that grows takes %.3f allocations more", more)
			}
		})
	}
}

// firstPort is the first flow's.
const firstPort = 20000

// grower drops what enters a machine, by card or veth; before that it has it grow as ChannelData does, if grow. It counts packets
// and the ports that they were for, until it is asked.
func grower(t *testing.T, h *host, grow bool) (entered func() (packets uint64, flows int)) {
	t.Helper()
	ports, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 4096})
	if err != nil {
		t.Skipf("MISSING: eBPF: %v", err)
	}
	bytes := int32(0)
	if grow {
		bytes = 4
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R1, asm.R6, 16, asm.Word), // protocol
		asm.Mov.Imm(asm.R2, 14+20+2),
		asm.JEq.Imm(asm.R1, native16(0x0800), "ip"),
		asm.Mov.Imm(asm.R2, 14+40+2),
		asm.JNE.Imm(asm.R1, native16(0x86dd), "pass"),
		asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("ip"),
		asm.Mov.Imm(asm.R3, 0),
		asm.StoreMem(asm.RFP, -8, asm.R3, asm.DWord),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -8),
		asm.Mov.Imm(asm.R4, 2),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "pass"),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R2, bytes), // of none: nothing is done
		asm.Mov.Imm(asm.R3, 0),     // BPF_ADJ_ROOM_NET
		asm.Mov.Imm(asm.R4, 0),
		asm.FnSkbAdjustRoom.Call(),
		asm.JNE.Imm(asm.R0, 0, "pass"),
		asm.LoadMapPtr(asm.R1, ports.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "new"),
		asm.Mov.Imm(asm.R1, 1),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
		asm.Ja.Label("pass"),
		asm.Mov.Imm(asm.R1, 1).WithSymbol("new"),
		asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord),
		asm.LoadMapPtr(asm.R1, ports.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -16),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnMapUpdateElem.Call(),
		asm.Mov.Imm(asm.R0, actShot).WithSymbol("pass"),
		asm.Return(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var links []link.Link
	if err := inside(h.ns, func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		for _, index := range []int{h.in.index, eth0.Index} {
			l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: prog, Attach: ebpf.AttachTCXIngress})
			if err != nil {
				return err
			}
			links = append(links, l)
		}
		return nil
	}); err != nil {
		t.Skipf("MISSING: tcx: %v", err)
	}
	return func() (packets uint64, flows int) {
		var key [4]byte
		var n uint64
		for list := ports.Iterate(); list.Next(&key, &n); {
			if port := binary.BigEndian.Uint16(key[:]); port >= firstPort && port < firstPort+1000 { // else a packet of the kernel's own
				packets += n
				flows++
			}
		}
		for _, l := range links {
			_ = l.Close()
		}
		return packets, flows
	}
}

// allocations counts what the kernel takes from its heap while it works for this thread.
func allocations(t *testing.T) func() uint64 {
	t.Helper()
	var files []*os.File
	for _, name := range []string{"kmalloc", "kmem_cache_alloc"} {
		text, err := os.ReadFile("/sys/kernel/tracing/events/kmem/" + name + "/id")
		if err != nil {
			t.Skipf("MISSING: tracepoints: %v", err)
		}
		id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}
		fd, err := unix.PerfEventOpen(&attr, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err != nil {
			t.Skipf("MISSING: counts of tracepoints: %v", err)
		}
		files = append(files, os.NewFile(uintptr(fd), name))
	}
	t.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
	return func() (sum uint64) {
		for _, f := range files {
			var b [8]byte
			if _, err := f.Read(b[:]); err != nil {
				t.Fatal(err)
			}
			sum += binary.NativeEndian.Uint64(b[:])
		}
		return sum
	}
}
