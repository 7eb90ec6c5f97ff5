package tls

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"traverse.internal/identity"
)

// TestProofVectors holds docs/protocol/udp.md 4 against the product and against the vector: seed of the signer's key, role, exported
// bytes, the other's id; then the proof.
func TestProofVectors(t *testing.T) {
	raw, err := os.ReadFile("../../docs/protocol/testdata/udp-vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "proof" {
			continue
		}
		seen++
		var b [6][]byte
		for i := 1; i < len(fields); i++ {
			if b[i], err = hex.DecodeString(fields[i]); err != nil {
				t.Fatal(err)
			}
		}
		seed, role, exported, other, want := b[1], b[2], b[3], b[4], b[5]
		key := ed25519.NewKeyFromSeed(seed)
		id := key.Public().(ed25519.PublicKey)
		// From the page alone:
		signed := fmt.Appendf(nil, "traverse device proof\x00\x01%s%s%s%s", role, exported, []byte(id), other)
		if want[0] != 1 || len(want) != 65 || !ed25519.Verify(id, signed, want[1:]) {
			t.Errorf("the page: wrong signature in %x; right is %x", want, ed25519.Sign(key, signed))
		}
		// The product:
		if got := proofMessage(exported, role[0] == 0, identity.DeviceID(id), identity.DeviceID(other)); !bytes.Equal(got, signed) {
			t.Errorf("the product signs %x, the page says %x", got, signed)
		}
	}
	if seen < 2 {
		t.Errorf("%d vectors", seen)
	}
}
