package signalling

import (
	"bufio"
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"traverse.internal/identity"
)

const vectorFile = "../docs/protocol/testdata/signalling-vectors.txt"

var printVectors = flag.Bool("print-vectors", false, "print the envelope lines of the vector file, built by the second implementation")

// vectors returns the lines of kind in the vector file, split into fields, the kind taken off.
func vectors(t *testing.T, kind string) [][]string {
	t.Helper()
	data, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
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
	if s == "-" {
		return []byte{}
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// deviceFromSeed makes the device of a vector by way of an identity file.
func deviceFromSeed(t *testing.T, seed []byte) *identity.Device {
	t.Helper()
	key := ed25519.NewKeyFromSeed(seed)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "identity")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := append([]byte("traverse-identity 1\n"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
	file = append(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := os.WriteFile(filepath.Join(dir, "device.pem"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	device, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return device
}

func TestVectorsOfMessages(t *testing.T) {
	for i, v := range vectors(t, "message") {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			ephemeral, senderSeed, recipientSeed, sealed := unhex(t, v[0]), unhex(t, v[1]), unhex(t, v[2]), unhex(t, v[8])
			sender := ed25519.NewKeyFromSeed(senderSeed).Public().(ed25519.PublicKey)
			recipient := deviceFromSeed(t, recipientSeed)
			to := recipient.ID()
			kind, _ := strconv.Atoi(v[3])
			expiry, _ := strconv.ParseUint(v[5], 10, 64)
			want := indepMessage{
				kind: byte(kind), sender: sender, recipient: to[:], id: unhex(t, v[4]), expiry: expiry, hash: unhex(t, v[6]), body: unhex(t, v[7]),
			}

			m, err := Open(recipient, sealed)
			if err != nil {
				t.Fatal(err)
			}
			got := indepMessage{
				kind: byte(m.Kind), sender: m.From[:], recipient: m.To[:], id: m.ID[:], expiry: uint64(m.Expiry.Unix()), hash: m.RequestHash[:], body: m.Body,
			}
			if g, w := fmt.Sprintf("%x", got), fmt.Sprintf("%x", want); g != w {
				t.Errorf("the product opens %s, want %s", g, w)
			}
			second, err := indepOpen(recipientSeed, sealed)
			if err != nil {
				t.Fatal(err)
			}
			if g, w := fmt.Sprintf("%x", second), fmt.Sprintf("%x", want); g != w {
				t.Errorf("the second implementation opens %s, want %s", g, w)
			}
			if again := indepSeal(mustX25519(t, ephemeral), senderSeed, want); !bytes.Equal(again, sealed) {
				t.Errorf("the second implementation seals %x, want %x", again, sealed)
			}
		})
	}
}

func TestVectorsOfRefusals(t *testing.T) {
	for _, v := range vectors(t, "refuse") {
		t.Run(v[0], func(t *testing.T) {
			seed, sealed := unhex(t, v[1]), unhex(t, v[2])
			if _, err := Open(deviceFromSeed(t, seed), sealed); err == nil {
				t.Error("the product opened it")
			}
			if _, err := indepOpen(seed, sealed); err == nil {
				t.Error("the second implementation opened it")
			}
		})
	}
}

// TestBothImplementationsUnderstandEachOther seals with each and opens with the other.
func TestBothImplementationsUnderstandEachOther(t *testing.T) {
	seedA, seedB := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	alice, bob := deviceFromSeed(t, seedA), deviceFromSeed(t, seedB)
	sealed := mustSeal(t, alice, Message{Kind: Request, To: bob.ID(), ID: RequestID{5}, Expiry: time.Unix(1_800_000_000, 0), Body: []byte("offer")})
	m, err := indepOpen(seedB, sealed)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(m.body), "offer"; got != want {
		t.Errorf("opened %q, want %q", got, want)
	}
}

func mustX25519(t *testing.T, b []byte) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestPrintVectors prints the envelope lines of the vector file: go test -run PrintVectors -print-vectors.
func TestPrintVectors(t *testing.T) {
	if !*printVectors {
		return
	}
	seedA, seedB := bytes.Repeat([]byte{0xa1}, 32), bytes.Repeat([]byte{0xb2}, 32)
	idA := []byte(ed25519.NewKeyFromSeed(seedA).Public().(ed25519.PublicKey))
	idB := []byte(ed25519.NewKeyFromSeed(seedB).Public().(ed25519.PublicKey))
	id, zero := bytes.Repeat([]byte{0x1d}, 16), make([]byte, 32)
	const expiry = 1_800_000_000

	line := func(n byte, from, to []byte, m indepMessage) []byte {
		ephemeral := bytes.Repeat([]byte{n}, 32)
		sealed := indepSeal(mustX25519(t, ephemeral), from, m)
		body := hex.EncodeToString(m.body)
		if body == "" {
			body = "-"
		}
		fmt.Printf("message %x %x %x %d %x %d %x %s %x\n", ephemeral, from, to, m.kind, m.id, m.expiry, m.hash, body, sealed)
		return sealed
	}
	request := line(0xe1, seedA, seedB, indepMessage{1, idA, idB, id, expiry, zero, []byte("offer of A")})
	hash := sha256Of(request)
	answer := indepMessage{2, idB, idA, id, expiry + 1, hash, []byte("answer of B")}
	line(0xe2, seedB, seedA, answer)
	line(0xe3, seedA, seedB, indepMessage{1, idA, idB, bytes.Repeat([]byte{0x1e}, 16), expiry, zero, bytes.Repeat([]byte{0x0f}, 787)})
	line(0xe4, seedB, seedA, indepMessage{2, idB, idA, id, expiry, hash, nil})
	record := []byte{1, 1, 4, 127, 0, 0, 1, 0x42, 0x69}
	line(0xe5, seedB, seedA, indepMessage{3, idB, idA, bytes.Repeat([]byte{0x1f}, 16), expiry, zero, record})
	line(0xeb, seedB, seedA, indepMessage{4, idB, idA, bytes.Repeat([]byte{0x20}, 16), expiry, zero, append(bytes.Clone(record), 1, 4, 192, 0, 2, 1, 0x0d, 0x96)})

	refuse := func(name string, sealed []byte) { fmt.Printf("refuse %s %x %x\n", name, seedB, sealed) }
	good := indepMessage{1, idA, idB, id, expiry, zero, []byte("offer of A")}
	refuse("wrong-signer", indepSeal(mustX25519(t, bytes.Repeat([]byte{0xe6}, 32)), seedB, good))
	unknown := good
	unknown.kind = 5
	refuse("unknown-kind", indepSeal(mustX25519(t, bytes.Repeat([]byte{0xe7}, 32)), seedA, unknown))
	noticed := indepMessage{4, idA, idB, bytes.Repeat([]byte{0x20}, 16), expiry, hash, record}
	refuse("notice-with-a-hash", indepSeal(mustX25519(t, bytes.Repeat([]byte{0xec}, 32)), seedA, noticed))
	hashed := good
	hashed.hash = hash
	refuse("request-with-a-hash", indepSeal(mustX25519(t, bytes.Repeat([]byte{0xe8}, 32)), seedA, hashed))
	late := good
	late.expiry = 1<<40 + 1
	refuse("expiry-out-of-range", indepSeal(mustX25519(t, bytes.Repeat([]byte{0xe9}, 32)), seedA, late))
	cut := bytes.Clone(request)
	cut[0] = 2
	refuse("unknown-version", cut)
	refuse("answer-sealed-to-another", indepSeal(mustX25519(t, bytes.Repeat([]byte{0xea}, 32)), seedB, answer))
}
