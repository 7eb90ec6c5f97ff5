package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// The identity file is text: a line that names the format and its version, the key as PKCS #8 and the certificate,
// both in PEM (RFC 7468). Text before the first BEGIN is allowed there, so that openssl reads the file as it is.
const (
	fileMagic   = "traverse-identity 1\n"
	filePrefix  = "traverse-identity "
	keyLabel    = "PRIVATE KEY"
	certLabel   = "CERTIFICATE"
	maxFileSize = 16 << 10 // a file of version 1 has 726 bytes
)

// appendFile appends the identity file of key and certificate to dst.
func appendFile(dst []byte, key ed25519.PrivateKey, cert []byte) ([]byte, error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("identity: write key: %w", err)
	}
	dst = append(dst, fileMagic...)
	dst = append(dst, pem.EncodeToMemory(&pem.Block{Type: keyLabel, Bytes: pkcs8})...)
	return append(dst, pem.EncodeToMemory(&pem.Block{Type: certLabel, Bytes: cert})...), nil
}

// parseFile reads an identity file. Only what appendFile writes is taken, byte for byte: whatever else stands there is
// damage or somebody's edit, and an identity is no place to guess.
func parseFile(data []byte) (*Device, error) {
	if !bytes.HasPrefix(data, []byte(fileMagic)) {
		line, _, whole := bytes.Cut(data, []byte("\n"))
		if bytes.HasPrefix(line, []byte(filePrefix)) && whole && len(line) < 40 {
			return nil, fmt.Errorf("unknown version %q, this program reads version 1", line[len(filePrefix):])
		}
		return nil, errors.New("not an identity file")
	}
	keyBlock, rest := pem.Decode(data[len(fileMagic):])
	if keyBlock == nil || keyBlock.Type != keyLabel {
		return nil, errors.New("no private key in it")
	}
	certBlock, _ := pem.Decode(rest)
	if certBlock == nil || certBlock.Type != certLabel {
		return nil, errors.New("no certificate in it")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, errors.New("private key is not PKCS #8") // the cause could quote key bytes
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("private key is not Ed25519")
	}
	device, err := newDevice(key, certBlock.Bytes)
	if err != nil {
		return nil, err
	}
	again, err := appendFile(nil, key, certBlock.Bytes)
	if err != nil || !bytes.Equal(again, data) {
		return nil, errors.New("damaged: text was added or cut")
	}
	return device, nil
}
