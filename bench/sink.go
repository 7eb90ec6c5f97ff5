package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// A sinkhole counts what has been relayed and drops it as it enters, at tcx: what taking it costs is nobody's, and should be little, since it
// is in everybody's figures. Rules of nftables take some hundred nanoseconds for the same.
type sinkhole struct {
	counts *ebpf.Map // an array of one: packets and octets up, packets and octets down
	prog   *ebpf.Program
	link   link.Link
}

// Of the kernel's struct __sk_buff, and of what a classifier may say.
const (
	skbLen     = 0
	skbData    = 76
	skbDataEnd = 80
	actOK      = 0
	actShot    = 2
)

// newSinkhole makes the sink of a machine: for what goes to its peers, for ChannelData from its relay, and for answers to senders who do not
// exist. STUN, which begins with two zero bits where ChannelData has 01, passes.
func newSinkhole(h *host) (*sinkhole, error) {
	counts, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 32, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("make the sink's counters: %w", err)
	}
	s := &sinkhole{counts: counts}
	if s.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: sinkCode(h, counts.FD())}); err != nil {
		s.close()
		return nil, fmt.Errorf("load the sink: %w", err)
	}
	return s, nil
}

// sinkCode keeps the packet in R6, its bytes in R7, and expects headers without options, in one piece.
func sinkCode(h *host, counts int) asm.Instructions {
	const ether, ip4Len, ip6Len, udpLen = 14, 20, 40, 8
	code := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R7, asm.R6, skbData, asm.Word),
		asm.LoadMem(asm.R8, asm.R6, skbDataEnd, asm.Word),
		asm.Mov.Reg(asm.R2, asm.R7),
		asm.Add.Imm(asm.R2, ether+ip4Len),
		asm.JGT.Reg(asm.R2, asm.R8, "pass"),
		asm.LoadMem(asm.R3, asm.R7, 12, asm.Half),
		asm.JEq.Imm(asm.R3, native16(0x86dd), "six"),
		asm.JNE.Imm(asm.R3, native16(0x0800), "pass"),
		asm.LoadMem(asm.R3, asm.R7, ether+16, asm.Half),
		asm.JEq.Imm(asm.R3, native16(10<<8|78), "drop"), // spoofed
		asm.LoadMem(asm.R3, asm.R7, ether+9, asm.Byte),
		asm.JNE.Imm(asm.R3, 17, "pass"),
	}
	code = append(code, equal(ether+16, h.sink[v4].AsSlice(), "down4")...)
	code = append(code, asm.Ja.Label("up"))
	code = append(code, labelled("down4", equal(ether+12, h.relay[v4].AsSlice(), "pass"))...)
	code = append(code,
		asm.Mov.Imm(asm.R2, ether+ip4Len+udpLen),
		asm.Ja.Label("down"),

		asm.Mov.Reg(asm.R2, asm.R7).WithSymbol("six"),
		asm.Add.Imm(asm.R2, ether+ip6Len),
		asm.JGT.Reg(asm.R2, asm.R8, "pass"),
		asm.LoadMem(asm.R3, asm.R7, ether+6, asm.Byte),
		asm.JNE.Imm(asm.R3, 17, "pass"),
	)
	code = append(code, equal(ether+24, h.sink[v6].AsSlice(), "down6")...)
	code = append(code, asm.Ja.Label("up"))
	code = append(code, labelled("down6", equal(ether+8, h.relay[v6].AsSlice(), "pass"))...)
	return append(code,
		asm.Mov.Imm(asm.R2, ether+ip6Len+udpLen),

		// The payload's first byte, which in a train lies elsewhere.
		asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("down"),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -8),
		asm.Mov.Imm(asm.R4, 1),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "pass"),
		asm.LoadMem(asm.R3, asm.RFP, -8, asm.Byte),
		asm.And.Imm(asm.R3, 0xc0),
		asm.JNE.Imm(asm.R3, 0x40, "pass"),
		asm.LoadMapValue(asm.R1, counts, 16),
		asm.Ja.Label("count"),

		asm.LoadMapValue(asm.R1, counts, 0).WithSymbol("up"),
		asm.Mov.Imm(asm.R2, 1).WithSymbol("count"),
		asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 0),
		asm.LoadMem(asm.R2, asm.R6, skbLen, asm.Word),
		asm.Sub.Imm(asm.R2, ether),
		asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 8),

		asm.Mov.Imm(asm.R0, actShot).WithSymbol("drop"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, actOK).WithSymbol("pass"),
		asm.Return(),
	)
}

// equal goes on where the packet has an address at an offset, and to a label where it has another.
func equal(offset int16, addr []byte, otherwise string) asm.Instructions {
	var code asm.Instructions
	for i := 0; i < len(addr); i += 4 {
		code = append(code,
			asm.LoadMem(asm.R3, asm.R7, offset+int16(i), asm.Word),
			asm.Mov.Imm32(asm.R4, int32(binary.NativeEndian.Uint32(addr[i:]))),
			asm.JNE.Reg(asm.R3, asm.R4, otherwise))
	}
	return code
}

func labelled(name string, code asm.Instructions) asm.Instructions {
	code[0] = code[0].WithSymbol(name)
	return code
}

// native16 is how two bytes of the network read here.
func native16(n uint16) int32 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], n)
	return int32(binary.NativeEndian.Uint16(b[:]))
}

// attach puts the sink at an interface of the namespace that the thread is in.
func (s *sinkhole) attach(ifindex int) (err error) {
	if s.link, err = link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: s.prog, Attach: ebpf.AttachTCXIngress}); err != nil {
		return fmt.Errorf("attach the sink: %w", err)
	}
	return nil
}

// read returns what was counted in a direction.
func (s *sinkhole) read(up bool) (packets, octets int64, err error) {
	var value [4]uint64
	if err := s.counts.Lookup(uint32(0), &value); err != nil {
		return 0, 0, fmt.Errorf("read the sink's counters: %w", err)
	}
	i := 2
	if up {
		i = 0
	}
	return int64(value[i]), int64(value[i+1]), nil
}

func (s *sinkhole) close() {
	if s.link != nil {
		_ = s.link.Close()
	}
	if s.prog != nil {
		_ = s.prog.Close()
	}
	_ = s.counts.Close()
}

// shutDoor has an interface of the namespace that the thread is in drop all that enters, after what is there already, until open is
// called.
func shutDoor(ifindex int) (open func() error, err error) {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, actShot), asm.Return()}})
	if err != nil {
		return nil, fmt.Errorf("make a door: %w", err)
	}
	l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: prog, Attach: ebpf.AttachTCXIngress, Anchor: link.Tail()})
	if err != nil {
		return nil, fmt.Errorf("shut the door: %w", errors.Join(err, prog.Close()))
	}
	return func() error { return errors.Join(l.Close(), prog.Close()) }, nil
}
