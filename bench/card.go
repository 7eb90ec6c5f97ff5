package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// A card is a second interface of a relay's machine, by which frames only come in, as a network card's driver hands them to the
// kernel: in turns of 64, in pages that are used again, with 256 bytes of room in front (a driver's XDP_PACKET_HEADROOM; without
// XDP they are 64). ChannelData's header has a place there. Frames that are written to a veth have 2 bytes, so that the kernel makes
// every packet anew that grows. The frames are the kernel's own (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18), the interface is a tap
// that nobody reads: what the machine sends goes out by the veth.
type card struct {
	index int       // in the relay's machine
	first link.Link // what every frame meets first; it goes with this
}

const (
	cardName = "card0"
	// cardRun is how many frames one system call has enter: what it sets up first is little beside them.
	cardRun = 8192
	// headMost is the longest head that a load writes anew for every frame: Ethernet, IPv6, UDP, ChannelData.
	headMost = 14 + 40 + 8 + 4
)

// newCard puts a card into a machine. It ends with the process.
func newCard(h *host) (*card, error) {
	c := &card{}
	return c, inside(h.ns, func() (err error) {
		if c.index, err = openTap(cardName); err != nil {
			return fmt.Errorf("make a card: %w", err)
		}
		var s strings.Builder
		fmt.Fprintf(&s, "link set %s address %s\nlink set %s addrgenmode none\n", cardName, h.mac(2), cardName)
		for _, a := range []netip.Addr{h.card[v4], h.card[v6]} { // without any, the relay in the kernel would not look at it
			fmt.Fprintf(&s, "addr add %v/%d dev %s\n", a, a.BitLen(), cardName)
		}
		fmt.Fprintf(&s, "link set %s up\n", cardName)
		if err := ipBatch(s.String()); err != nil {
			return err
		}
		// What comes in here is answered by the other way: no filter may mind (the greater of both values counts).
		for _, which := range []string{"all", cardName} {
			if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+which+"/rp_filter", []byte("0"), 0); err != nil {
				return err
			}
		}
		return c.checked()
	})
}

// openTap makes an interface in the namespace that the thread is in; it lives as long as the process, whose file it is.
func openTap(name string) (index int, err error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("/dev/net/tun: %w", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	var dev *net.Interface
	if err == nil {
		dev, err = net.InterfaceByName(name)
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return dev.Index, nil
}

// checked has a card say that it has verified the checksums, as cards do: sockets need not.
func (c *card) checked() error {
	const increment, next = 1, -1 // BPF_CSUM_LEVEL_INC, TCX_NEXT
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R2, increment),
		asm.FnCsumLevel.Call(),
		asm.Mov.Imm(asm.R0, next),
		asm.Return(),
	}})
	if err == nil {
		c.first, err = link.AttachTCX(link.TCXOptions{Interface: c.index, Program: prog, Attach: ebpf.AttachTCXIngress})
	}
	if err != nil {
		return fmt.Errorf("make a card: %w", err)
	}
	return prog.Close()
}

// A cardLoad has frames enter by a card, in turns those of a list.
type cardLoad struct {
	frame []byte        // the first of them
	heads *ebpf.Map     // of all
	state *ebpf.Map     // how many have entered, and which is the next
	prog  *ebpf.Program // writes the next head into a frame
	at    []byte        // struct xdp_md
	sent  uint64
}

// load makes a load of frames that differ in their first headLen bytes only.
func (c *card) load(frames [][]byte, headLen int) (l *cardLoad, err error) {
	l = &cardLoad{frame: frames[0]}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: have frames enter by a card: it takes Linux 5.18: %w", errMissing, err)
			l.close()
		}
	}()
	if l.heads, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: headMost, MaxEntries: uint32(len(frames))}); err != nil {
		return l, err
	}
	for i, f := range frames {
		if err = l.heads.Put(uint32(i), append(f[:headLen:headLen], make([]byte, headMost-headLen)...)); err != nil {
			return l, err
		}
	}
	if l.state, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1}); err != nil {
		return l, err
	}
	if l.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: l.code(len(frames), headLen)}); err != nil {
		return l, err
	}
	l.at = make([]byte, 24) // data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
	binary.NativeEndian.PutUint32(l.at[4:], uint32(len(l.frame)))
	binary.NativeEndian.PutUint32(l.at[12:], uint32(c.index))
	return l, nil
}

// code writes heads in turn: the kernel uses pages again as its last reader left them.
func (l *cardLoad) code(frames, headLen int) asm.Instructions {
	const xdpAborted, xdpPass = 0, 2
	code := asm.Instructions{
		asm.LoadMem(asm.R7, asm.R1, 0, asm.Word), // data
		asm.LoadMem(asm.R8, asm.R1, 4, asm.Word), // data_end
		asm.Mov.Reg(asm.R2, asm.R7),
		asm.Add.Imm(asm.R2, int32(headLen)),
		asm.JGT.Reg(asm.R2, asm.R8, "aborted"),
		asm.LoadMapValue(asm.R6, l.state.FD(), 0),
		asm.LoadMem(asm.R1, asm.R6, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R6, 0, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.R6, 8, asm.DWord),
		asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word),
		asm.Add.Imm(asm.R1, 1),
		asm.JLT.Imm(asm.R1, int32(frames), "more"),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.R6, 8, asm.R1, asm.DWord).WithSymbol("more"),
		asm.LoadMapPtr(asm.R1, l.heads.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "aborted"),
	}
	for i := 0; i < headLen; i += 2 {
		code = append(code, asm.LoadMem(asm.R1, asm.R0, int16(i), asm.Half), asm.StoreMem(asm.R7, int16(i), asm.R1, asm.Half))
	}
	return append(code,
		asm.Mov.Imm(asm.R0, xdpPass),
		asm.Return(),
		asm.Mov.Imm(asm.R0, xdpAborted).WithSymbol("aborted"),
		asm.Return(),
	)
}

// send has cardRun frames enter, whatever is asked for, and returns how many have: in the context of this thread, which has to be
// in the machine's namespace. The load pays for all that the kernel does with them until they are sent or queued.
func (l *cardLoad) send([][]byte) (int, error) {
	_, err := l.prog.Run(&ebpf.RunOptions{Data: l.frame, Context: l.at, Repeat: cardRun, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES})
	var state [2]uint64
	if err == nil {
		err = l.state.Lookup(uint32(0), &state)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: have frames enter by a card: %w", errMissing, err)
	}
	n := state[0] - l.sent
	l.sent = state[0]
	return int(n), nil
}

func (l *cardLoad) close() {
	if l.prog != nil {
		_ = l.prog.Close()
	}
	for _, m := range []*ebpf.Map{l.heads, l.state} {
		if m != nil {
			_ = m.Close()
		}
	}
}
