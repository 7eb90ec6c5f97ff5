package framing

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Labels of the keys and of the MAC that let a new link take over a session.
const (
	ExporterLabel = "EXPORTER-traverse-mux" // of each link's 32 bytes of exported key, RFC 8446 §7.5, without context
	resumeInfo    = "traverse resume"       // HKDF's info
	resumeLabel   = "traverse/1 RESUME"     // the MAC's first bytes
)

// Side is who sends a RESUME: the session's offerer or its answerer, whoever called the new link.
type Side byte

// The sides, as in the MAC.
const (
	OffererSide  Side = 1
	AnswererSide Side = 2
)

// ResumeKey derives the key of a session's RESUME messages from the exporter of its first link.
func ResumeKey(firstExporter []byte) [32]byte {
	key, err := hkdf.Key(sha256.New, firstExporter, nil, resumeInfo, 32)
	if err != nil {
		panic(fmt.Sprintf("framing: resume key: %v", err)) // only a length beyond 255 × 32 fails
	}
	return [32]byte(key)
}

// ResumeMAC returns the MAC of m, all but its MAC field, as sent by the side from over the link with that exporter.
// Compare with hmac.Equal.
func ResumeMAC(key [32]byte, from Side, m *Resume, linkExporter []byte) [32]byte {
	mac := hmac.New(sha256.New, key[:])
	b := make([]byte, 0, 128) // 17 + 1 + 16 + 4 + 8 + 32 = 78
	b = append(b, resumeLabel...)
	b = append(b, byte(from))
	b = append(b, m.SessionID[:]...)
	b = binary.BigEndian.AppendUint32(b, m.Epoch)
	b = binary.BigEndian.AppendUint64(b, m.Received)
	b = append(b, linkExporter...)
	mac.Write(b)
	return [32]byte(mac.Sum(nil))
}
