package turn

import (
	"bytes"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

// TURN.md 13 to 29.
func TestAuthentication(t *testing.T) {
	s := startServer(t, nil)
	for _, c := range []struct {
		name   string
		change func(*testClient)
		add    []attrs
		method stun.Method
		want   stun.ErrorCode
	}{
		{name: "right", method: stun.MethodAllocate, add: []attrs{wantUDP}},
		{name: "signed with SHA-256", change: func(c *testClient) { c.sha256 = true }, method: stun.MethodAllocate, add: []attrs{wantUDP}},
		{name: "with a fingerprint", change: func(c *testClient) { c.finger = true }, method: stun.MethodAllocate, add: []attrs{wantUDP}},
		{name: "wrong password", change: func(c *testClient) { c.pass = "x" }, method: stun.MethodAllocate, want: 401},
		{name: "wrong password, SHA-256", change: func(c *testClient) { c.pass, c.sha256 = "x", true }, method: stun.MethodAllocate, want: 401},
		{name: "unknown user", change: func(c *testClient) { c.user = "nobody" }, method: stun.MethodAllocate, want: 401},
		{name: "another realm", change: func(c *testClient) { c.realm = "elsewhere" }, method: stun.MethodAllocate, want: 401},
		{name: "invented nonce", change: func(c *testClient) { c.nonce = []byte("0123456789012345678901") }, method: stun.MethodAllocate, want: 438},
		{name: "short nonce", change: func(c *testClient) { c.nonce = []byte("x") }, method: stun.MethodAllocate, want: 438},
		{name: "no integrity", change: func(c *testClient) { c.noSign = true }, method: stun.MethodAllocate, add: []attrs{wantUDP}, want: 401},
		{name: "no integrity, and too short to be answered at length", change: func(c *testClient) { c.noSign = true }, method: stun.MethodAllocate, want: 400},
		{name: "two user names", change: func(c *testClient) { c.stranger = true }, add: []attrs{raw(stun.AttrUsername, 'v')}, method: stun.MethodAllocate, want: 400},
		{name: "refresh without allocation", method: stun.MethodRefresh, want: 437},
		{name: "permission without allocation", method: stun.MethodCreatePermission, add: []attrs{peerText("127.0.0.1:1")}, want: 437},
		{name: "channel without allocation", method: stun.MethodChannelBind, add: []attrs{channel(0x4000), peerText("127.0.0.1:1")}, want: 437},
		{name: "connect without allocation", method: stun.MethodConnect, add: []attrs{peerText("127.0.0.1:1")}, want: 437},
		{name: "unknown attribute", method: stun.MethodAllocate, add: []attrs{wantUDP, raw(0x7f01)}, want: 420},
		{name: "unknown attribute that may be ignored", method: stun.MethodAllocate, add: []attrs{wantUDP, raw(0xff01, 1, 2, 3)}},
		{name: "user name and user hash", change: func(c *testClient) { c.stranger = true }, method: stun.MethodAllocate, add: []attrs{wantUDP, raw(stun.AttrUserhash, make([]byte, 32)...)}, want: 400},
		{name: "half of the algorithms", change: func(c *testClient) { c.stranger = true }, method: stun.MethodAllocate, add: []attrs{wantUDP, raw(stun.AttrPasswordAlgorithm, 0, 2, 0, 0)}, want: 400},
		{name: "other algorithms than offered", change: func(c *testClient) { c.stranger = true }, method: stun.MethodAllocate, add: []attrs{
			wantUDP, raw(stun.AttrPasswordAlgorithm, 0, 1, 0, 0), raw(stun.AttrPasswordAlgorithms, 0, 1, 0, 0),
		}, want: 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := dialUDP(t, s).login()
			if c.change != nil {
				c.change(client)
			}
			if got := client.code(c.method, c.add...); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestSignedRequestWithoutItsNamesIsBad(t *testing.T) {
	s := startServer(t, nil)
	full := dialUDP(t, s).login()
	for _, missing := range []stun.AttrType{stun.AttrUsername, stun.AttrRealm, stun.AttrNonce} {
		id := stun.NewTransactionID()
		b := stun.New(nil, stun.MethodAllocate.Request(), id)
		wantUDP(&b)
		for _, a := range []struct {
			t     stun.AttrType
			value []byte
		}{{stun.AttrUsername, []byte("u")}, {stun.AttrRealm, []byte("test")}, {stun.AttrNonce, full.nonce}} {
			if a.t != missing {
				b.Add(a.t, a.value)
			}
		}
		b.AddIntegrity(stun.LongTermKey("u", "test", "p"))
		full.send(b.Bytes())
		m := full.response()
		if got := codeOf(t, m); got != stun.CodeBadRequest || m.Has(stun.AttrRealm) || m.Has(stun.AttrNonce) {
			t.Errorf("without %v: got %v, realm %v, nonce %v; want a bare 400", missing, got, m.Has(stun.AttrRealm), m.Has(stun.AttrNonce))
		}
	}
}

// What follows MESSAGE-INTEGRITY was added by somebody else.
func TestAttributesBehindTheSignatureAreIgnored(t *testing.T) {
	s := startServer(t, nil)
	c := dialUDP(t, s)
	c.allocate()
	b := c.build(stun.MethodRefresh)
	b = append(b, 0, 0x0d, 0, 4, 0, 0, 0, 0) // LIFETIME 0
	b[3] += 8
	c.send(b)
	m := c.answer(stun.MethodRefresh)
	if left, err := m.Uint32(stun.AttrLifetime); err != nil || left != 600 {
		t.Errorf("lifetime: got %d, %v; want 600", left, err)
	}
}

func TestNonceIsItsSourcesOwn(t *testing.T) {
	s := startServer(t, nil)
	a, b := dialUDP(t, s).login(), dialUDP(t, s).login()
	if bytes.Equal(a.nonce, b.nonce) {
		t.Error("two sources got the same nonce")
	}
	own := b.nonce
	b.nonce = a.nonce
	if got := b.code(stun.MethodAllocate, wantUDP); got != stun.CodeStaleNonce {
		t.Errorf("another's nonce: got %v, want 438", got)
	}
	b.nonce = own
	if got := b.code(stun.MethodAllocate, wantUDP); got != 0 {
		t.Errorf("its own nonce: got %v", got)
	}
}

func TestNonceExpiresAndLongAllocationsSurvive(t *testing.T) {
	s := startServer(t, func(c *Config) { c.NonceLifetime = 10 * time.Minute })
	c := dialUDP(t, s)
	c.allocate(wantUDP, lifetime(3600))
	for _, step := range []struct {
		ahead time.Duration
		want  stun.ErrorCode
	}{{9 * time.Minute, 0}, {10*time.Minute + time.Second, 438}, {11 * time.Minute, 0}, {19 * time.Minute, 0}, {21 * time.Minute, 438}} {
		s.skew.Store(int64(step.ahead))
		if got := c.code(stun.MethodRefresh, lifetime(3600)); got != step.want {
			t.Errorf("after %v: got %v, want %v", step.ahead, got, step.want)
		}
	}
}

func TestAnotherUsersAllocation(t *testing.T) {
	s := startServer(t, nil)
	c := dialUDP(t, s)
	c.allocate()
	c.user, c.pass = "v", "q"
	for method, add := range map[stun.Method]attrs{
		stun.MethodRefresh:          lifetime(0),
		stun.MethodCreatePermission: peerText("127.0.0.1:1"),
		stun.MethodChannelBind:      peerText("127.0.0.1:1"),
	} {
		if got := c.code(method, add); got != stun.CodeWrongCredentials {
			t.Errorf("%v: got %v, want 441", method, got)
		}
	}
	if got := c.code(stun.MethodAllocate, wantUDP); got != stun.CodeAllocationMismatch {
		t.Errorf("Allocate: got %v, want 437", got)
	}
}

func TestUsersAreReplacedWhileServing(t *testing.T) {
	s := startServer(t, nil)
	c := dialUDP(t, s)
	c.allocate()
	s.SetUsers(map[string]string{"v": "q"})
	if got := c.code(stun.MethodRefresh); got != stun.CodeUnauthenticated {
		t.Errorf("a removed user: got %v, want 401", got)
	}
	s.SetUsers(map[string]string{"u": "new"})
	c.pass = "new"
	if got := c.code(stun.MethodRefresh); got != 0 {
		t.Errorf("a new password: got %v", got)
	}
}

// TURN.md 30: with IP and UDP headers, 28 bytes, the answer is at most 2.1 times the question.
func TestStrangersGetShortAnswers(t *testing.T) {
	s := startServer(t, func(c *Config) { c.Realm = "traverse" })
	for _, short := range []struct {
		method stun.Method
		add    []attrs
	}{
		{stun.MethodBinding, nil},
		{stun.MethodAllocate, nil},
		{stun.MethodAllocate, []attrs{wantUDP}}, // long enough to be offered password algorithms
		{stun.MethodRefresh, nil},
		{0x0ff, nil},
	} {
		c := dialUDP(t, s)
		method, question := short.method, c.build(short.method, short.add...)
		c.send(question)
		answer := c.response().Raw
		ratio := float64(len(answer)+28) / float64(len(question)+28)
		t.Logf("%v: %d to %d bytes, %.2f on the wire", method, len(question), len(answer), ratio)
		if ratio > 2.1 {
			t.Errorf("%v: ratio %.2f", method, ratio)
		}
	}
}

// TestFleetNonces: servers with one key take each other's nonces, also while the key is being changed.
func TestFleetNonces(t *testing.T) {
	now, client := time.Unix(1_700_000_000, 0), tupleFor("192.0.2.1:1000")
	of := func(keys ...string) *nonces { return newNonces(time.Minute, keys) }
	taken := func(by, maker *nonces) bool {
		_, ok := by.valid(maker.append(nil, now, client, true), now.Add(time.Second), client)
		return ok
	}
	before, during, after := of("old"), of("new", "old"), of("new")
	for _, c := range []struct {
		name      string
		by, maker *nonces
		want      bool
	}{
		{"the same key", before, of("old"), true},
		{"the old key, by one that has both", during, before, true},
		{"the new key, by one that has both", during, after, true},
		{"of one that has both, which makes with the new one", after, during, true},
		{"of one that has both, by one that has the old key only", before, during, false},
		{"the old key, by one that has it no more", after, before, false},
		{"no key", before, newNonces(time.Minute, nil), false},
	} {
		if got := taken(c.by, c.maker); got != c.want {
			t.Errorf("%s: taken %v, want %v", c.name, got, c.want)
		}
	}
	before.setKeys([]string{"new"})
	if !taken(after, before) {
		t.Error("a new key is not in force")
	}
}

func TestNonces(t *testing.T) {
	n := newNonces(time.Minute, nil)
	now := time.Unix(1_700_000_000, 0)
	a, b := tupleFor("192.0.2.1:1000"), tupleFor("192.0.2.1:1001")
	nonce, plain := n.append(nil, now, a, true), n.append(nil, now, a, false)
	if len(nonce) != len(nonceCookie)+nonceLen || len(plain) != nonceLen {
		t.Fatalf("lengths %d and %d, want %d and %d", len(nonce), len(plain), len(nonceCookie)+nonceLen, nonceLen)
	}
	forged := bytes.Clone(nonce)
	forged[len(forged)-3] ^= 1
	for _, c := range []struct {
		name  string
		nonce []byte
		tuple string
		after time.Duration
		want  bool
	}{
		{"at once", nonce, "192.0.2.1:1000", 0, true},
		{"just before its end, under the next key", nonce, "192.0.2.1:1000", 59 * time.Second, true},
		{"at its end", nonce, "192.0.2.1:1000", time.Minute, false},
		{"by a clock that is a little behind", nonce, "192.0.2.1:1000", -clockSkew, true},
		{"by a clock that is far behind", nonce, "192.0.2.1:1000", -clockSkew - time.Second, false},
		{"after very long", nonce, "192.0.2.1:1000", 200 * 365 * 24 * time.Hour, false},
		{"another port", nonce, "192.0.2.1:1001", 0, false},
		{"another address", nonce, "192.0.2.2:1000", 0, false},
		{"forged", forged, "192.0.2.1:1000", 0, false},
		{"18 hours later, when its time comes again", nonce, "192.0.2.1:1000", 65536 * time.Second, false},
		{"without an offer", plain, "192.0.2.1:1000", 0, true},
		{"an offer's without its cookie", nonce[len(nonceCookie):], "192.0.2.1:1000", 0, false},
		{"one without an offer behind a cookie", append([]byte(nonceCookie), plain...), "192.0.2.1:1000", 0, false},
		{"empty", nil, "192.0.2.1:1000", 0, false},
	} {
		if _, got := n.valid(c.nonce, now.Add(c.after), tupleFor(c.tuple)); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	if _, ok := newNonces(time.Minute, nil).valid(nonce, now, a); ok {
		t.Error("another server's nonce is valid")
	}
	if got := testing.AllocsPerRun(100, func() { n.valid(nonce, now, b) }); got > 0 {
		t.Errorf("checking allocates %v times", got)
	}
}
