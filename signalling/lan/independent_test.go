package lan

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"traverse.internal/identity"
)

// A second implementation of signalling between neighbours, written from docs/protocol/signalling.md 5a, RFC 1035 and RFC 6762 alone:
// it has no DNS library and nothing of this package. Where the two differ, the page decides.

const vectorFile = "../../docs/protocol/testdata/lan-vectors.txt"

var printVectors = flag.Bool("print-vectors", false, "print the vector file, built by the second implementation")

func indepMAC(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// indepHint is 16 bytes of HKDF (RFC 5869), whose first block has 32.
func indepHint(secret, caller, called []byte, hour uint64) []byte {
	prk := indepMAC(make([]byte, 32), secret) // no salt: zeros
	return indepMAC(prk, []byte("traverse lan"), caller, called, binary.BigEndian.AppendUint64(nil, hour), []byte{1})[:16]
}

// indepLabel writes 16 bytes in base32 by arithmetic: 128 bits and two zeros are 26 digits.
func indepLabel(hint []byte) string {
	const digits = "abcdefghijklmnopqrstuvwxyz234567"
	n := new(big.Int).Lsh(new(big.Int).SetBytes(hint), 2)
	out := make([]byte, 26)
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = digits[new(big.Int).And(n, big.NewInt(31)).Int64()]
		n.Rsh(n, 5)
	}
	return string(out)
}

func indepName(hint []byte) []byte {
	var out []byte
	for _, label := range []string{indepLabel(hint), "_traverse", "_udp", "local"} {
		out = append(append(out, byte(len(label))), label...)
	}
	return append(out, 0)
}

// indepQuery is a question of type SRV (33) in class IN (1).
func indepQuery(hint []byte, id uint16) []byte {
	out := binary.BigEndian.AppendUint16(nil, id)
	out = append(out, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) // flags; 1 question, nothing else
	return append(append(out, indepName(hint)...), 0, 33, 0, 1)
}

// indepRead reads any of the three and says what it is, in the words of the vector file.
func indepRead(b []byte) string {
	if bytes.HasPrefix(b, []byte("TLAN")) {
		return indepDatagram(b)
	}
	if len(b) < 12 || len(b) > 512 {
		return "nothing"
	}
	id, flags := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	questions, answers := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	at := 12
	var hint []byte
	for i := range questions {
		asked, next, ok := indepReadName(b, at)
		if !ok || next+4 > len(b) {
			return "nothing"
		}
		at = next + 4
		if flags&0x8000 == 0 {
			if i == 0 && b[next] == 0 && b[next+1] == 33 && asked != nil {
				return fmt.Sprintf("query %d %x", id, asked)
			}
			return "nothing"
		}
	}
	if flags&0x8000 == 0 || answers == 0 {
		return "nothing"
	}
	hint, at, ok := indepReadName(b, at)
	if !ok || hint == nil || at+10 > len(b) || b[at] != 0 || b[at+1] != 33 {
		return "nothing"
	}
	n := int(binary.BigEndian.Uint16(b[at+8:]))
	at += 10
	if n < 7 || at+n > len(b) { // priority, weight, port, and a name of at least one byte
		return "nothing"
	}
	if _, end, ok := indepReadName(b, at+6); !ok || end != at+n {
		return "nothing"
	}
	port := binary.BigEndian.Uint16(b[at+4:])
	if port == 0 {
		return "nothing"
	}
	return fmt.Sprintf("reply %d %x %d", id, hint, port)
}

// indepReadName reads a name, following pointers backwards (RFC 1035 §4.1.4); its hint is nil when it is not one of ours.
func indepReadName(b []byte, at int) (hint []byte, next int, ok bool) {
	var parts []string
	for jumps := 0; ; {
		if at >= len(b) {
			return nil, 0, false
		}
		n := int(b[at])
		if n >= 0xc0 {
			if at+1 >= len(b) || jumps > 10 {
				return nil, 0, false
			}
			if jumps == 0 {
				next = at + 2
			}
			jumps++
			at = (n&0x3f)<<8 | int(b[at+1])
			continue
		}
		if n > 63 || at+1+n > len(b) {
			return nil, 0, false
		}
		if n == 0 {
			if jumps == 0 {
				next = at + 1
			}
			break
		}
		parts = append(parts, strings.ToLower(string(b[at+1:at+1+n])))
		at += 1 + n
	}
	if len(parts) != 4 || len(parts[0]) != 26 || !slices.Equal(parts[1:], []string{"_traverse", "_udp", "local"}) {
		return nil, next, true
	}
	n := new(big.Int)
	for _, c := range parts[0] {
		i := strings.IndexRune("abcdefghijklmnopqrstuvwxyz234567", c)
		if i < 0 {
			return nil, next, true
		}
		n.Or(n.Lsh(n, 5), big.NewInt(int64(i)))
	}
	if n.Bit(0)+n.Bit(1) != 0 {
		return nil, next, true
	}
	return n.Rsh(n, 2).FillBytes(make([]byte, 16)), next, true
}

func indepDatagram(b []byte) string {
	if len(b) < 29 || len(b) > 1400 {
		return "nothing"
	}
	sealed := b[29:]
	name := map[byte]string{1: "request", 2: "receipt", 3: "answer"}[b[4]]
	if name == "" || (name == "receipt") != (len(sealed) == 0) {
		return "nothing"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %x %x %x", name, b[5:21], b[21:29], sealed))
}

// ourRead is the same by the product's code.
func ourRead(b []byte) string {
	if h, id, ok := parseQuery(b); ok {
		return fmt.Sprintf("query %d %x", id, h[:])
	}
	if h, id, port, ok := parseReply(b); ok {
		return fmt.Sprintf("reply %d %x %d", id, h[:], port)
	}
	if g, ok := parseDatagram(b); ok {
		name := []string{kindRequest: "request", kindReceipt: "receipt", kindAnswer: "answer"}[g.kind]
		return strings.TrimSpace(fmt.Sprintf("%s %x %x %x", name, g.hint[:], g.tag[:], g.sealed))
	}
	return "nothing"
}

// TestVectors: both implementations make the names of the vector file, and read its bytes as it says.
func TestVectors(t *testing.T) {
	if *printVectors {
		writeVectors()
	}
	file, err := os.Open(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	seen := map[string]int{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		seen[f[0]]++
		switch f[0] {
		case "name": // SECRET CALLER CALLED HOUR HINT NAME
			secret, caller, called := unhex(t, f[1]), unhex(t, f[2]), unhex(t, f[3])
			hour, err := strconv.ParseInt(f[4], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			h := hintOf([32]byte(secret), identity.DeviceID(caller), identity.DeviceID(called), hour)
			if got := fmt.Sprintf("%x %s", h, nameOf(h)); got != f[5]+" "+f[6] {
				t.Errorf("the name is %s, want %s %s", got, f[5], f[6])
			}
			i := indepHint(secret, caller, called, uint64(hour))
			if got := fmt.Sprintf("%x %s._traverse._udp.local.", i, indepLabel(i)); got != f[5]+" "+f[6] {
				t.Errorf("the second implementation's name is %s, want %s %s", got, f[5], f[6])
			}
		case "read": // HEX WHAT...
			b, want := unhex(t, f[1]), strings.Join(f[2:], " ")
			if got := ourRead(b); got != want {
				t.Errorf("%s is read as %q, want %q", f[1], got, want)
			}
			if got := indepRead(b); got != want {
				t.Errorf("%s is read by the second implementation as %q, want %q", f[1], got, want)
			}
		case "query": // ID HINT HEX: the bytes that are sent
			id, err := strconv.ParseUint(f[1], 10, 16)
			if err != nil {
				t.Fatal(err)
			}
			h := unhex(t, f[2])
			if got, err := appendQuery(hint(h), uint16(id)); err != nil || hex.EncodeToString(got) != f[3] {
				t.Errorf("the query is %x (%v), want %s", got, err, f[3])
			}
			if got := indepQuery(h, uint16(id)); hex.EncodeToString(got) != f[3] {
				t.Errorf("the second implementation's query is %x, want %s", got, f[3])
			}
		default:
			t.Errorf("what is %q?", f[0])
		}
	}
	for _, kind := range []string{"name", "read", "query"} {
		if seen[kind] == 0 {
			t.Errorf("no %s vectors", kind)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzBoth: the two read whatever comes alike.
func FuzzBoth(f *testing.F) {
	h := hint{1, 2, 3}
	q, _ := appendQuery(h, 7)
	r, _ := appendReply(h, 7, 4242)
	f.Add(q)
	f.Add(r)
	f.Add(appendDatagram(nil, datagram{kindRequest, h, tag{9}, []byte("x")}))
	f.Add(appendDatagram(nil, datagram{kindReceipt, h, tag{9}, nil}))
	f.Fuzz(func(t *testing.T, b []byte) {
		// RFC 1035 leaves open what of a broken message is still read, so messages of DNS are compared where both find something.
		ours, theirs := ourRead(b), indepRead(b)
		if ours != theirs && (bytes.HasPrefix(b, []byte(magic)) || ours != "nothing" && theirs != "nothing") {
			t.Errorf("%x is %q and %q", b, ours, theirs)
		}
	})
}

// writeVectors prints the file.
func writeVectors() {
	secret, caller, called := bytes.Repeat([]byte{0x5e}, 32), bytes.Repeat([]byte{0xa1}, 32), bytes.Repeat([]byte{0xb2}, 32)
	fmt.Println("# Vectors for docs/protocol/signalling.md 5a. Bytes are hex; HOUR, ID and PORT are decimal.")
	fmt.Println("\n# name SECRET CALLER CALLED HOUR HINT NAME")
	var h []byte
	for _, hour := range []uint64{500001, 500000} {
		h = indepHint(secret, caller, called, hour)
		fmt.Printf("name %x %x %x %d %x %s._traverse._udp.local.\n", secret, caller, called, hour, h, indepLabel(h))
	}
	back := indepHint(secret, called, caller, 500000)
	fmt.Printf("name %x %x %x %d %x %s._traverse._udp.local.\n", secret, called, caller, 500000, back, indepLabel(back))
	q := indepQuery(h, 513)
	fmt.Println("\n# query ID HINT BYTES: what a caller sends")
	fmt.Printf("query 513 %x %x\n", h, q)

	name := indepName(h)
	reply := func(question, owner, target []byte, port uint16) []byte {
		out := []byte{2, 1, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0}
		if question != nil {
			out[5] = 1
			out = append(append(out, question...), 0, 33, 0, 1)
		}
		out = append(append(out, owner...), 0, 33, 0, 1, 0, 0, 0, 10, 0, byte(6+len(target)), 0, 0, 0, 0)
		return append(binary.BigEndian.AppendUint16(out, port), target...)
	}
	pointer := []byte{0xc0, 12}
	datagram := func(kind byte, sealed string) []byte {
		return slices.Concat([]byte("TLAN"), []byte{kind}, h, []byte{1, 2, 3, 4, 5, 6, 7, 8}, []byte(sealed))
	}
	upper := slices.Clone(q)
	copy(upper[13:], strings.ToUpper(indepLabel(h)))
	other := slices.Clone(q)
	other[len(other)-3] = 1 // type A
	last := slices.Clone(q)
	last[12+26] = 'b' // a digit whose last bits are not zero
	fmt.Println("\n# read BYTES, and what it is: query ID HINT, reply ID HINT PORT, request or answer HINT TAG SEALED, receipt HINT TAG, or nothing")
	for _, b := range [][]byte{
		q, upper, other, last, q[:len(q)-1],
		reply(name, pointer, pointer, 4242), reply(name, name, name, 4242), reply(nil, name, []byte{0}, 4242),
		reply(name, pointer, pointer, 0), reply(name, []byte{1, 'x', 0}, pointer, 4242), reply(name, pointer, pointer, 4242)[:60],
		datagram(1, "sealed"), datagram(2, ""), datagram(3, "sealed"),
		datagram(1, ""), datagram(2, "sealed"), datagram(4, "sealed"), datagram(0, "sealed"), datagram(1, "")[:28],
		datagram(1, strings.Repeat("s", 1372)), []byte("TLAM"),
	} {
		fmt.Printf("read %x %s\n", b, indepRead(b))
	}
}
