package stun_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"net"
	"net/netip"
	"testing"

	pionstun "github.com/pion/stun"

	"traverse.internal/core/stun"
)

func hmacSHA256(key, msg []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(msg)
	return h.Sum(nil)
}

// A message of ours means the same to pion.
func TestPionReadsOurs(t *testing.T) {
	for _, addr := range []string{"192.0.2.1:32853", "[2001:db8::1]:1"} {
		want := netip.MustParseAddrPort(addr)
		b := stun.New(nil, stun.MethodAllocate.Error(), testID)
		b.AddText(stun.AttrUsername, "user")
		b.AddText(stun.AttrRealm, "realm")
		b.AddXORAddr(stun.AttrXORMappedAddress, want)
		b.AddErrorCode(stun.CodeStaleNonce)
		b.AddUnknownAttributes([]stun.AttrType{0x7fff, 0x0003})
		b.AddIntegrity(stun.LongTermKey("user", "realm", "pass"))
		b.AddFingerprint()

		m := &pionstun.Message{Raw: bytes.Clone(b.Bytes())}
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		if m.Type.Method != pionstun.MethodAllocate || m.Type.Class != pionstun.ClassErrorResponse {
			t.Errorf("type = %v", m.Type)
		}
		if m.TransactionID != testID {
			t.Errorf("transaction = %x", m.TransactionID)
		}
		if err := pionstun.NewLongTermIntegrity("user", "realm", "pass").Check(m); err != nil {
			t.Errorf("integrity: %v", err)
		}
		if err := pionstun.Fingerprint.Check(m); err != nil {
			t.Errorf("fingerprint: %v", err)
		}
		var got pionstun.XORMappedAddress
		if err := got.GetFrom(m); err != nil || got.String() != addr {
			t.Errorf("address = %v, %v, want %v", got, err, addr)
		}
		var code pionstun.ErrorCodeAttribute
		if err := code.GetFrom(m); err != nil || code.Code != 438 || string(code.Reason) != "Stale Nonce" {
			t.Errorf("error code = %v, %v", code, err)
		}
		var unknown pionstun.UnknownAttributes
		if err := unknown.GetFrom(m); err != nil || len(unknown) != 1 || unknown[0] != 0x7fff {
			t.Errorf("unknown = %v, %v", unknown, err) // pion v0.6 takes four bytes for each type, so it sees one of two
		}
	}
}

// A message of pion's means the same to us.
func TestWeReadPions(t *testing.T) {
	for _, addr := range []string{"192.0.2.1:32853", "[2001:db8::1]:1"} {
		want := netip.MustParseAddrPort(addr)
		m, err := pionstun.Build(
			pionstun.NewTransactionIDSetter(testID),
			pionstun.NewType(pionstun.MethodRefresh, pionstun.ClassErrorResponse),
			pionstun.NewUsername("user"), pionstun.NewRealm("realm"), pionstun.NewNonce("nonce"),
			pionstun.NewSoftware("software"),
			&pionstun.XORMappedAddress{IP: net.IP(want.Addr().AsSlice()), Port: int(want.Port())},
			pionstun.ErrorCodeAttribute{Code: 437, Reason: []byte("no")},
			pionstun.UnknownAttributes{0x7fff},
			pionstun.NewLongTermIntegrity("user", "realm", "pass"),
			pionstun.Fingerprint,
		)
		if err != nil {
			t.Fatal(err)
		}
		got, err := stun.Parse(m.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if got.Type() != stun.MethodRefresh.Error() || got.TransactionID() != testID {
			t.Errorf("got %v %v", got.Type(), got.TransactionID())
		}
		if err := got.CheckIntegrity(stun.LongTermKey("user", "realm", "pass")); err != nil {
			t.Errorf("integrity: %v", err)
		}
		if err := got.CheckFingerprint(); err != nil {
			t.Errorf("fingerprint: %v", err)
		}
		for a, want := range map[stun.AttrType]string{
			stun.AttrUsername: "user", stun.AttrRealm: "realm", stun.AttrNonce: "nonce", stun.AttrSoftware: "software",
		} {
			if v, err := got.Text(a); string(v) != want || err != nil {
				t.Errorf("%v = %q, %v, want %q", a, v, err, want)
			}
		}
		if a, err := got.XORAddr(stun.AttrXORMappedAddress); a != want || err != nil {
			t.Errorf("address = %v, %v, want %v", a, err, want)
		}
		if c, phrase, err := got.ErrorCode(); c != stun.CodeAllocationMismatch || string(phrase) != "no" || err != nil {
			t.Errorf("error code = %v %q, %v", c, phrase, err)
		}
		if u, err := got.AppendUnknownAttributes(nil); err != nil || u[0] != 0x7fff {
			t.Errorf("unknown = %v, %v", u, err) // and writes four, the last two zero
		}
	}
}
