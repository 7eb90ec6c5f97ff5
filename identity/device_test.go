package identity

import (
	"crypto/ed25519"
	"testing"
	"time"
)

func newTestDevice(t testing.TB) *Device {
	t.Helper()
	device, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return device
}

func TestSignAndVerify(t *testing.T) {
	a, b := newTestDevice(t), newTestDevice(t)
	message := []byte("offer")
	sig := a.Sign(message)
	for _, c := range []struct {
		name    string
		id      DeviceID
		message string
		sig     []byte
		want    bool
	}{
		{"its own", a.ID(), "offer", sig, true},
		{"another device", b.ID(), "offer", sig, false},
		{"another message", a.ID(), "Offer", sig, false},
		{"signature cut short", a.ID(), "offer", sig[:63], false},
		{"no signature", a.ID(), "offer", nil, false},
		{"the zero id", DeviceID{}, "offer", sig, false},
	} {
		if got := Verify(c.id, []byte(c.message), c.sig); got != c.want {
			t.Errorf("%s: Verify = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestCertificateShowsTheKey(t *testing.T) {
	device := newTestDevice(t)
	cert := device.Certificate()
	leaf := cert.Leaf
	if key, ok := leaf.PublicKey.(ed25519.PublicKey); !ok || DeviceID(key) != device.ID() {
		t.Errorf("certificate's key = %v, want %v", leaf.PublicKey, device.ID())
	}
	if leaf.Subject.CommonName != device.ID().String() {
		t.Errorf("subject = %q, want the device id", leaf.Subject.CommonName)
	}
	// A device without a clock starts in 1970; nobody looks at the dates, but tools should not complain for centuries.
	if year := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); leaf.NotBefore.After(year) || leaf.NotAfter.Year() != 9999 {
		t.Errorf("valid from %v to %v, want from before 2026 to 9999", leaf.NotBefore, leaf.NotAfter)
	}
	if other := newTestDevice(t).Certificate().Leaf; leaf.SerialNumber.Cmp(other.SerialNumber) == 0 || leaf.SerialNumber.Sign() <= 0 {
		t.Errorf("serial %v, other's %v, want positive and different", leaf.SerialNumber, other.SerialNumber)
	}
}

func BenchmarkVerify(b *testing.B) {
	device := newTestDevice(b)
	message := make([]byte, 700)
	sig := device.Sign(message)
	b.ReportAllocs()
	for b.Loop() {
		if !Verify(device.ID(), message, sig) {
			b.Fatal("not verified")
		}
	}
}
