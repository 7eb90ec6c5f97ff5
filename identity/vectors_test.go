package identity

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
)

// vectors returns the lines of kind in the vector file, split into fields, the kind taken off.
func vectors(t *testing.T, kind string) [][]string {
	t.Helper()
	data, err := os.ReadFile("../docs/protocol/testdata/identity-vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) > 0 && f[0] == kind {
			out = append(out, f[1:])
		}
	}
	if len(out) == 0 {
		t.Fatalf("no %q vectors", kind)
	}
	return out
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func deviceFromSeed(t *testing.T, seed string) *Device {
	t.Helper()
	key := ed25519.NewKeyFromSeed(unhex(t, seed))
	der, err := selfSign(key)
	if err != nil {
		t.Fatal(err)
	}
	device, err := newDevice(key, der)
	if err != nil {
		t.Fatal(err)
	}
	return device
}

func TestVectorsOfDevices(t *testing.T) {
	for _, v := range vectors(t, "device") {
		device, text := deviceFromSeed(t, v[0]), v[2]
		id, err := ParseDeviceID(text)
		if err != nil || id != device.ID() || hex.EncodeToString(id[:]) != v[1] {
			t.Errorf("ParseDeviceID(%q) = %x, %v, want %s", text, id[:], err, v[1])
		}
		if got := device.ID().String(); got != text {
			t.Errorf("String() = %q, want %q", got, text)
		}
		pub, err := id.X25519()
		if err != nil || hex.EncodeToString(pub.Bytes()) != v[3] {
			t.Errorf("X25519() of %s = %v, %v, want %s", id.Short(), pub, err, v[3])
		}
		if got := hex.EncodeToString(device.ECDH().Bytes()); got != v[4] {
			t.Errorf("ECDH() of %s = %s, want %s", id.Short(), got, v[4])
		}
		if !device.ECDH().PublicKey().Equal(pub) {
			t.Errorf("%s: private and public X25519 key do not belong together", id.Short())
		}
	}
}

func TestVectorsOfSharedSecrets(t *testing.T) {
	for _, v := range vectors(t, "shared") {
		a, b := deviceFromSeed(t, v[0]), deviceFromSeed(t, v[1])
		for _, pair := range [][2]*Device{{a, b}, {b, a}} {
			got, err := pair[0].Shared(pair[1].ID())
			if err != nil || hex.EncodeToString(got[:]) != v[2] {
				t.Errorf("Shared = %x, %v, want %s", got, err, v[2])
			}
		}
	}
}

func TestVectorsOfText(t *testing.T) {
	want := vectors(t, "device")[0][2]
	for _, v := range vectors(t, "text") {
		if id, err := ParseDeviceID(v[0]); err != nil || id.String() != want {
			t.Errorf("ParseDeviceID(%q) = %v, %v, want %s", v[0], id, err, want)
		}
	}
	faults := map[string]IDFault{
		"length": FaultLength, "alphabet": FaultAlphabet, "check": FaultCheck, "padding": FaultPadding, "key": FaultKey,
	}
	for _, v := range vectors(t, "notext") {
		_, err := ParseDeviceID(v[1])
		var got *IDError
		if !errors.As(err, &got) || got.Fault != faults[v[0]] {
			t.Errorf("ParseDeviceID(%q) error = %v, want fault %s", v[1], err, v[0])
		}
	}
}

// A bad key gives no X25519 key and no shared secret, verifies nothing, and its text is refused.
func TestVectorsOfBadKeys(t *testing.T) {
	device := deviceFromSeed(t, strings.Repeat("01", 32))
	for _, v := range vectors(t, "nokey") {
		id := DeviceID(unhex(t, v[0]))
		if _, err := id.X25519(); err == nil {
			t.Errorf("X25519 of %s: no error", v[0])
		}
		if _, err := device.Shared(id); err == nil {
			t.Errorf("Shared with %s: no error", v[0])
		}
		if _, err := ParseDeviceID(id.String()); err == nil {
			t.Errorf("ParseDeviceID(%s): no error", id)
		}
		// With the neutral element as key, R = neutral and s = 0 sign everything, says crypto/ed25519.
		forged := make([]byte, ed25519.SignatureSize)
		forged[0] = 1
		if Verify(id, []byte("any message"), forged) {
			t.Errorf("%s verifies a forged signature", v[0])
		}
	}
	neutral, forged := DeviceID{1}, append([]byte{1}, make([]byte, 63)...)
	if !ed25519.Verify(neutral[:], []byte("any message"), forged) {
		t.Error("crypto/ed25519 refuses the neutral key by now: the check in Verify may go")
	}
}
