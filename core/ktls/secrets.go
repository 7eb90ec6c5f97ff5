package ktls

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync"
)

// The names of the traffic secrets in a key log (the format of SSLKEYLOGFILE).
const (
	clientSecret = "CLIENT_TRAFFIC_SECRET_0"
	serverSecret = "SERVER_TRAFFIC_SECRET_0"
)

// secretLen is the length of a secret of TLS_AES_128_GCM_SHA256, in bytes.
const secretLen = sha256.Size

// Secrets is the KeyLogWriter of one connection. It keeps that connection's application traffic secrets, nothing else,
// and only in memory. The zero value is ready.
type Secrets struct {
	mu             sync.Mutex // guards the fields below
	client, server []byte
}

// Write takes a line of a key log: a label, the client's random, a secret, the last two in hexadecimal.
func (s *Secrets) Write(line []byte) (int, error) {
	fields := bytes.Fields(line)
	if len(fields) != 3 || len(fields[2]) != hex.EncodedLen(secretLen) {
		return len(line), nil // of another suite
	}
	label := string(fields[0])
	if label != clientSecret && label != serverSecret {
		return len(line), nil
	}
	secret := make([]byte, secretLen)
	if _, err := hex.Decode(secret, fields[2]); err != nil {
		return len(line), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if label == clientSecret {
		s.client = secret
	} else {
		s.server = secret
	}
	return len(line), nil
}

// Forget drops the secrets of a connection that will not go to the kernel.
func (s *Secrets) Forget() {
	client, server := s.take(false)
	clear(client)
	clear(server)
}

// take returns the secrets of both directions, ours first, and forgets them.
func (s *Secrets) take(server bool) (out, in []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out, in = s.client, s.server
	if server {
		out, in = in, out
	}
	s.client, s.server = nil, nil
	return out, in
}

// trafficKeys are what the kernel is given for one direction: RFC 8446 §7.3.
type trafficKeys struct {
	key [16]byte
	iv  [12]byte
}

func keysOf(secret []byte) (k trafficKeys, err error) {
	key, err := expandLabel(secret, "key", len(k.key))
	if err != nil {
		return k, err
	}
	iv, err := expandLabel(secret, "iv", len(k.iv))
	copy(k.key[:], key)
	copy(k.iv[:], iv)
	clear(key)
	clear(iv)
	return k, err
}

// expandLabel is HKDF-Expand-Label with an empty context, RFC 8446 §7.1.
func expandLabel(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len(label)))
	info = append(info, label...)
	info = append(info, 0)
	return hkdf.Expand(sha256.New, secret, string(info), n)
}
