package stun_test

import (
	"net/netip"
	"testing"

	"traverse.internal/core/stun"
)

// sink keeps results alive.
var sink int

// One exchange of an authenticated Refresh, seen from the server: parse, check, answer. No step allocates.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	key := stun.LongTermKey("user", "realm", "pass")
	peer := netip.MustParseAddrPort("[2001:db8::1]:3480")
	b := stun.New(nil, stun.MethodCreatePermission.Request(), testID)
	b.AddText(stun.AttrUsername, "user")
	b.AddText(stun.AttrRealm, "realm")
	b.AddText(stun.AttrNonce, "nonce")
	b.AddXORAddr(stun.AttrXORPeerAddress, peer)
	b.AddUint32(0x7fff, 0)
	b.AddIntegrity(key)
	b.AddIntegritySHA256(key)
	b.AddFingerprint()
	request := b.Bytes()
	out := make([]byte, 0, 512)
	peers := make([]netip.AddrPort, 0, 4)
	unknown := make([]stun.AttrType, 0, stun.MaxUnknown)

	steps := []struct {
		name string
		run  func()
	}{
		{"parse", func() { m, _ := stun.Parse(request); sink += len(m.Raw) }},
		{"refuse", func() { _, err := stun.Parse(request[:30]); sink += len(err.Error()) }},
		{"attributes", func() {
			m, _ := stun.Parse(request)
			for _, v := range m.All() {
				sink += len(v)
			}
			user, _ := m.Text(stun.AttrUsername)
			all, _ := m.AppendXORAddrs(peers[:0], stun.AttrXORPeerAddress)
			_, err := m.Uint32(stun.AttrLifetime)
			sink += len(user) + len(all) + len(err.Error()) + len(m.AppendUnknown(unknown[:0], nil))
		}},
		{"check", func() {
			m, _ := stun.Parse(request)
			if m.CheckIntegrity(key) != nil || m.CheckIntegritySHA256(key, 32) != nil || m.CheckFingerprint() != nil {
				t.Error("check failed")
			}
		}},
		{"build", func() {
			m, _ := stun.Parse(request)
			r := stun.Respond(out[:0], m, stun.ClassSuccess)
			r.AddXORAddr(stun.AttrXORMappedAddress, peer)
			r.AddUint32(stun.AttrLifetime, 600)
			r.AddErrorCode(stun.CodeStaleNonce)
			r.AddIntegrity(key)
			r.AddFingerprint()
			sink += len(r.Bytes())
		}},
		{"frame", func() { n, need, _ := stun.StreamFrameLen(request); sink += n + need }},
	}
	for _, s := range steps {
		if n := testing.AllocsPerRun(100, s.run); n != 0 {
			t.Errorf("%s: %v allocations, want 0", s.name, n)
		}
	}
}

func BenchmarkRefresh(b *testing.B) {
	key := stun.LongTermKey("user", "realm", "pass")
	req := stun.New(nil, stun.MethodRefresh.Request(), testID)
	req.AddText(stun.AttrUsername, "user")
	req.AddText(stun.AttrRealm, "realm")
	req.AddText(stun.AttrNonce, "nonce")
	req.AddIntegrity(key)
	out := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		m, err := stun.Parse(req.Bytes())
		if err != nil || m.CheckIntegrity(key) != nil {
			b.Fatal("refused")
		}
		r := stun.Respond(out[:0], m, stun.ClassSuccess)
		r.AddUint32(stun.AttrLifetime, 600)
		r.AddIntegrity(key)
		sink += len(r.Bytes())
	}
}

func BenchmarkParse(b *testing.B) {
	raw := captured(b)[0].raw
	b.ReportAllocs()
	for b.Loop() {
		m, err := stun.Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		sink += len(m.Raw)
	}
}
