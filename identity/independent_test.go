package identity

import (
	"crypto/sha512"
	"encoding/base32"
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// A second implementation, written from docs/protocol/identity.md alone and sharing nothing with the package but the
// vectors. It checks that the page says enough, and says it right.

func independentText(key []byte) string {
	digits := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(key)
	var groups []string
	var bare string
	for block := range slices.Chunk([]byte(digits), 13) {
		bare += string(block) + string(independentCheck(block))
	}
	for g := range slices.Chunk([]byte(bare), 7) {
		groups = append(groups, string(g))
	}
	return strings.Join(groups, "-")
}

func independentCheck(block []byte) byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	sum := 0
	for i, c := range block { // d1 is at index 0: odd-numbered digits have even indices
		d := strings.IndexByte(letters, c)
		if i%2 == 0 {
			sum += 2*d/32 + 2*d%32
		} else {
			sum += d
		}
	}
	return letters[(32-sum%32)%32]
}

// independentKey says whether key is acceptable and what its X25519 public key is, by the curve's equation
// -x² + y² = 1 + d·x²·y² over big integers.
func independentKey(key []byte) (u []byte, ok bool) {
	one := big.NewInt(1)
	p := new(big.Int).Sub(new(big.Int).Lsh(one, 255), big.NewInt(19))
	mod := func(x *big.Int) *big.Int { return x.Mod(x, p) }
	inv := func(x *big.Int) *big.Int { return new(big.Int).ModInverse(x, p) }
	d := mod(new(big.Int).Mul(big.NewInt(-121665), inv(big.NewInt(121666))))

	little := slices.Clone(key)
	sign := little[31] >> 7
	little[31] &= 0x7f
	slices.Reverse(little)
	y := new(big.Int).SetBytes(little)
	if y.Cmp(p) >= 0 {
		return nil, false
	}
	// x² = (y²-1) / (d·y²+1)
	yy := mod(new(big.Int).Mul(y, y))
	denominator := mod(new(big.Int).Add(new(big.Int).Mul(d, yy), one))
	xx := mod(new(big.Int).Mul(new(big.Int).Sub(yy, one), inv(denominator)))
	x := new(big.Int).ModSqrt(xx, p)
	if x == nil || x.Sign() == 0 && sign == 1 {
		return nil, false
	}
	// Three doublings: (x,y) -> (2xy/(1+dx²y²), (y²+x²)/(1-dx²y²)). The sign of x does not matter for the order.
	px, py := x, y
	for range 3 {
		pxx, pyy := mod(new(big.Int).Mul(px, px)), mod(new(big.Int).Mul(py, py))
		dxxyy := mod(new(big.Int).Mul(d, new(big.Int).Mul(pxx, pyy)))
		top := new(big.Int).Mul(big.NewInt(2), new(big.Int).Mul(px, py))
		px = mod(top.Mul(top, inv(mod(new(big.Int).Add(one, dxxyy)))))
		sum := new(big.Int).Add(pyy, pxx)
		py = mod(sum.Mul(sum, inv(mod(new(big.Int).Sub(one, dxxyy)))))
	}
	if px.Sign() == 0 && py.Cmp(one) == 0 {
		return nil, false
	}
	quotient := new(big.Int).Mul(new(big.Int).Add(one, y), inv(mod(new(big.Int).Sub(one, y))))
	u = mod(quotient).FillBytes(make([]byte, 32))
	slices.Reverse(u)
	return u, true
}

func TestIndependentDecoderAgreesOnVectors(t *testing.T) {
	for _, v := range vectors(t, "device") {
		seed, key := unhex(t, v[0]), unhex(t, v[1])
		if got := independentText(key); got != v[2] {
			t.Errorf("text of %s = %s, want %s", v[1], got, v[2])
		}
		if u, ok := independentKey(key); !ok || hex.EncodeToString(u) != v[3] {
			t.Errorf("X25519 of %s = %x, %v, want %s", v[1], u, ok, v[3])
		}
		h := sha512.Sum512(seed)
		h[0], h[31] = h[0]&^7, h[31]&^0x80|0x40
		if got := hex.EncodeToString(h[:32]); got != v[4] {
			t.Errorf("X25519 private key of %s = %s, want %s", v[0], got, v[4])
		}
	}
	for _, v := range vectors(t, "nokey") {
		if _, ok := independentKey(unhex(t, v[0])); ok {
			t.Errorf("key %s accepted", v[0])
		}
	}
}

func TestIndependentDecoderAgreesOnNewKeys(t *testing.T) {
	for range 20 {
		device, err := New()
		if err != nil {
			t.Fatal(err)
		}
		id := device.ID()
		if got := independentText(id[:]); got != id.String() {
			t.Errorf("text of %x = %s, want %s", id[:], got, id)
		}
		pub, err := id.X25519()
		if u, ok := independentKey(id[:]); err != nil || !ok || string(u) != string(pub.Bytes()) {
			t.Errorf("X25519 of %x = %x, %v, want %x, %v", id[:], u, ok, pub.Bytes(), err)
		}
	}
}
