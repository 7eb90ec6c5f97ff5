package transferdecode

import (
	"encoding/binary"
	"math/bits"
)

// K12 is KT128 of RFC 9861 with 32 bytes of output, as its section 3.2 writes it down, and as slow.
func K12(message, custom []byte) [32]byte {
	const chunk = 8192
	s := append(append(append([]byte(nil), message...), custom...), lengthEncode(len(custom))...)
	if len(s) <= chunk {
		return turboShake128(s, 0x07)
	}
	final := append(append([]byte(nil), s[:chunk]...), 3, 0, 0, 0, 0, 0, 0, 0)
	count := 0
	for s = s[chunk:]; len(s) > 0; count++ {
		n := min(chunk, len(s))
		sum := turboShake128(s[:n], 0x0b)
		final, s = append(final, sum[:]...), s[n:]
	}
	final = append(append(final, lengthEncode(count)...), 0xff, 0xff)
	return turboShake128(final, 0x06)
}

func lengthEncode(n int) (b []byte) {
	for ; n > 0; n >>= 8 {
		b = append([]byte{byte(n)}, b...)
	}
	return append(b, byte(len(b)))
}

// turboShake128: Keccak-p[1600, 12] with a rate of 168 bytes (RFC 9861 §2.2).
func turboShake128(m []byte, domain byte) (out [32]byte) {
	const rate = 168
	m = append(append([]byte(nil), m...), domain)
	for len(m)%rate != 0 {
		m = append(m, 0)
	}
	m[len(m)-1] ^= 0x80
	var a [25]uint64
	for ; len(m) > 0; m = m[rate:] {
		for i := range rate / 8 {
			a[i] ^= binary.LittleEndian.Uint64(m[8*i:])
		}
		permute(&a)
	}
	for i := range 4 {
		binary.LittleEndian.PutUint64(out[8*i:], a[i])
	}
	return out
}

// permute is the last 12 of Keccak-f's 24 rounds (FIPS 202 §3.2), with the round constants of its generator.
func permute(a *[25]uint64) {
	lfsr := byte(1)
	for round := range 24 {
		constant := uint64(0)
		for j := range 7 {
			if lfsr&1 == 1 {
				constant |= 1 << (1<<j - 1)
			}
			carry := lfsr >> 7
			lfsr = lfsr<<1 ^ carry*0x71
		}
		if round < 12 {
			continue
		}
		var c [5]uint64
		for x := range 5 { // theta
			c[x] = a[x] ^ a[x+5] ^ a[x+10] ^ a[x+15] ^ a[x+20]
		}
		for x := range 5 {
			d := c[(x+4)%5] ^ bits.RotateLeft64(c[(x+1)%5], 1)
			for y := range 5 {
				a[x+5*y] ^= d
			}
		}
		x, y, turn := 1, 0, a[1] // rho and pi
		for t := range 24 {
			x, y = y, (2*x+3*y)%5
			turn, a[x+5*y] = a[x+5*y], bits.RotateLeft64(turn, (t+1)*(t+2)/2%64)
		}
		for y := range 5 { // chi
			row := [5]uint64(a[5*y : 5*y+5])
			for x := range 5 {
				a[x+5*y] = row[x] ^ ^row[(x+1)%5]&row[(x+2)%5]
			}
		}
		a[0] ^= constant // iota
	}
}
