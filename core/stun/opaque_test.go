package stun_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"traverse.internal/core/stun"
)

// RFC 8265 §4.3: which strings become which.
func TestOpaqueString(t *testing.T) {
	for _, c := range []struct{ name, a, b string }{
		{"composed and decomposed", "caf\u00e9", "cafe\u0301"},
		{"an ideographic space is a space", "correct\u3000horse", "correct horse"},
		{"a no-break space is a space", "correct\u00a0horse", "correct horse"},
	} {
		if !bytes.Equal(stun.LongTermKey("u", "r", c.a), stun.LongTermKey("u", "r", c.b)) {
			t.Errorf("%s: the keys of password %q and %q differ", c.name, c.a, c.b)
		}
		if !bytes.Equal(stun.KeySHA256("u", c.a, "p"), stun.KeySHA256("u", c.b, "p")) {
			t.Errorf("%s: the keys of realm %q and %q differ", c.name, c.a, c.b)
		}
		if stun.Userhash("u", c.a) != stun.Userhash("u", c.b) {
			t.Errorf("%s: the hashes of realm %q and %q differ", c.name, c.a, c.b)
		}
	}
	for _, c := range []struct{ name, a, b string }{
		{"case counts", "Password", "password"},
		{"spaces at the end count", "p", "p "},
		{"SASLprep folds this, OpaqueString does not", "The M\u00aatr\u2168", "The MatrIX"},
		{"what is forbidden stays as it is", "p\x01", "p"},
	} {
		if bytes.Equal(stun.LongTermKey("u", "r", c.a), stun.LongTermKey("u", "r", c.b)) {
			t.Errorf("%s: the keys of %q and %q are the same", c.name, c.a, c.b)
		}
	}
}

// RFC 8489 §18.5.1 and appendix B.1: USERHASH as it is printed there.
func TestRFC8489Userhash(t *testing.T) {
	const want = "4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
	hash := stun.Userhash("\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "example.org")
	if got := hex.EncodeToString(hash[:]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
