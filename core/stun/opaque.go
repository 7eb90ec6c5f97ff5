package stun

import "golang.org/x/text/secure/precis"

// opaque prepares a realm or a password for a key: the OpaqueString profile of RFC 8265 §4.2, which RFC 8489 §9.2.2 asks for.
// It turns every kind of space into the plain one and composes what can be composed. What the profile forbids, such as
// control characters, stays as it is: both sides then have the same bytes, or they do not.
//
// RFC 5389 had SASLprep, which also folds compatibility characters, ª to a and Ⅸ to IX. Clients of that age who have such a
// password make other keys of it than RFC 8489.
func opaque(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] >= ' ' && s[i] < 0x7f
	}
	if plain { // the profile changes nothing, and allocates for it
		return s
	}
	prepared, err := precis.OpaqueString.String(s)
	if err != nil {
		return s
	}
	return prepared
}
