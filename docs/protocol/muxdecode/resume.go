package muxdecode

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// ResumeKey derives the key of section 7.1 from the exporter of the session's first link: HKDF by hand (RFC 5869 §2),
// of whose output one block is wanted.
func ResumeKey(exporter []byte) []byte {
	pseudorandom := sum(make([]byte, sha256.Size), exporter) // no salt: a block of zeros
	return sum(pseudorandom, []byte("traverse resume\x01"))
}

// ResumeMAC computes the MAC of section 7.1; from is 1 for the session's offerer and 2 for its answerer.
func ResumeMAC(key []byte, from byte, session []byte, epoch uint32, received uint64, exporter []byte) []byte {
	in := []byte("traverse/1 RESUME")
	in = append(in, from)
	in = append(in, session...)
	in = binary.BigEndian.AppendUint32(in, epoch)
	in = binary.BigEndian.AppendUint64(in, received)
	return sum(key, append(in, exporter...))
}

func sum(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(nil)
}
