package arq

import (
	"bytes"
	"slices"
	"testing"
)

// A packet that parses says what a writer could have written: its ACK comes out of appendAck as it went in.
func FuzzPacket(f *testing.F) {
	seen := spans{{1, 2}, {5, 9}, {11, 400}}
	f.Add(appendAck(appendU48(nil, 7), seen, 3, 500))
	f.Add(append(appendU48(append(appendU48(nil, 1<<40), frameData), 99), "hello"...))
	f.Add(append(appendU48(append(appendU48(nil, 0), frameWindow), 1<<20), framePing, framePad, 0, 0))
	f.Add(append(appendU48(append(appendU48(nil, maxNumber), frameFin), maxNumber), frameClose))
	f.Add([]byte{0, 0, 0, 0, 0, 1, frameAck})
	f.Fuzz(func(t *testing.T, b []byte) {
		var p packet
		if !p.parse(bytes.Clone(b)) {
			return
		}
		if p.number > maxNumber || p.offset+uint64(len(p.data)) > maxNumber || p.hasData && len(p.data) == 0 {
			t.Fatalf("%+v", p)
		}
		for i, r := range p.acks {
			if r.lo >= r.hi || i > 0 && r.hi >= p.acks[i-1].lo || len(p.acks) > maxAckRange {
				t.Fatalf("ranges %v", p.acks)
			}
		}
		if len(p.acks) == 0 {
			return
		}
		up := slices.Clone(p.acks)
		slices.Reverse(up)
		again := appendAck(appendU48(nil, p.number), up, p.ackDelay, 1000)
		var q packet
		if !q.parse(again) || !slices.Equal(q.acks, p.acks) || q.ackDelay != p.ackDelay {
			t.Fatalf("%v became %v", p.acks, q.acks)
		}
	})
}

// Whatever an authenticated peer sends, the receiving half holds no more than its window and never panics.
func FuzzPeer(f *testing.F) {
	f.Add([]byte{1, 0, 0, 200, 1, 3, 0, 100, 4, 0, 0, 9})
	f.Add([]byte{1, 255, 255, 255, 4, 0, 1, 1, 1, 0, 0, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 8<<10 {
			return // 2,048 packets reach every state; longer inputs cost the fuzzer its time and find nothing else
		}
		r := receiver{window: firstGrant, limit: firstGrant}
		defer r.held.drop() // or each run leaves its chunks to the collector
		var out [500]byte
		for n := uint64(0); len(b) >= 4; n++ {
			off := uint64(b[1])<<10 | uint64(b[2])<<2
			r.note(&packet{number: n * uint64(b[0]), eliciting: true}, int64(n))
			ok := true
			switch b[0] % 3 {
			case 0:
				ok = r.data(off, bytes.Repeat(b[3:4], 1+int(b[3])*4))
			case 1:
				ok = r.finish(off)
			case 2:
				r.read(out[:b[3]])
				r.grant()
			}
			if b = b[4:]; !ok {
				break
			}
			if r.next-r.pos > firstGrant || len(r.got) > maxHoles || len(r.held.list) > 2*firstGrant/chunkLen || len(r.seen) > seenMost {
				t.Fatalf("holds too much: %+v", r)
			}
		}
	})
}
