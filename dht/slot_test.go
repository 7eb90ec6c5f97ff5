package dht

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"traverse.internal/identity"
	"traverse.internal/signalling"
)

const vectorFile = "../docs/protocol/testdata/signalling-vectors.txt"

var printVectors = flag.Bool("print-vectors", false, "print the slot lines of the vector file, built by the second implementation")

// vectors returns the lines of kind in the vector file, split into fields, the kind taken off.
func vectors(t *testing.T, kind string) (out [][]string) {
	t.Helper()
	data, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == kind {
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
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A second implementation of the derivations, written from docs/protocol/signalling.md and RFC 5869 alone.

func indepHKDF(secret, info []byte, n int) []byte {
	extract := hmac.New(sha256.New, []byte("traverse slot"))
	extract.Write(secret)
	expand := hmac.New(sha256.New, extract.Sum(nil))
	expand.Write(append(slices.Clone(info), 1))
	return expand.Sum(nil)[:n] // one block is enough for 32 bytes
}

func indepPairInfo(purpose string, sender, recipient []byte, hour uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Concat([]byte(purpose), sender, recipient), hour)
}

func indepCalltoInfo(id []byte, hour uint64, n byte) []byte {
	return append(binary.BigEndian.AppendUint64(append([]byte("callto:"), id...), hour), n)
}

func indepSlot(seed []byte) (public []byte, target [20]byte) {
	public = ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	return public, sha1.Sum(public)
}

func TestVectorsOfSlots(t *testing.T) {
	for _, v := range vectors(t, "slot") {
		secret, sender, recipient := unhex(t, v[0]), unhex(t, v[2]), unhex(t, v[3])
		hour, _ := strconv.ParseUint(v[4], 10, 64)
		got := pairSlot([32]byte(secret), purpose(v[1]), identity.DeviceID(sender), identity.DeviceID(recipient), int64(hour))
		if hex.EncodeToString(got.public[:]) != v[5] {
			t.Errorf("%s slot of hour %d: the product has %x, want %s", v[1], hour, got.public, v[5])
		}
		if target := newSearch(got.public, 0, nil).target; hex.EncodeToString(target[:]) != v[6] {
			t.Errorf("%s slot of hour %d: target %x, want %s", v[1], hour, target, v[6])
		}
		public, target := indepSlot(indepHKDF(secret, indepPairInfo(v[1], sender, recipient, hour), 32))
		if hex.EncodeToString(public) != v[5] || hex.EncodeToString(target[:]) != v[6] {
			t.Errorf("%s slot of hour %d: the second implementation has %x", v[1], hour, public)
		}
	}
}

func TestVectorsOfCalltoBoxes(t *testing.T) {
	for _, v := range vectors(t, "callto") {
		id := unhex(t, v[0])
		hour, _ := strconv.ParseUint(v[1], 10, 64)
		n, _ := strconv.Atoi(v[2])
		got := calltoSlot(identity.DeviceID(id), int64(hour), n)
		if hex.EncodeToString(got.public[:]) != v[3] {
			t.Errorf("box %d of hour %d: the product has %x, want %s", n, hour, got.public, v[3])
		}
		public, target := indepSlot(indepHKDF(id, indepCalltoInfo(id, hour, byte(n)), 32))
		if hex.EncodeToString(public) != v[3] || hex.EncodeToString(target[:]) != v[4] {
			t.Errorf("box %d of hour %d: the second implementation has %x", n, hour, public)
		}
	}
}

func TestVectorsOfDatagrams(t *testing.T) {
	for _, v := range vectors(t, "hint") {
		secret, sender, recipient := unhex(t, v[0]), unhex(t, v[1]), unhex(t, v[2])
		hour, _ := strconv.ParseUint(v[3], 10, 64)
		got := hintOf([32]byte(secret), identity.DeviceID(sender), identity.DeviceID(recipient), int64(hour))
		if hex.EncodeToString(got[:]) != v[4] {
			t.Errorf("hint of hour %d: the product has %x, want %s", hour, got, v[4])
		}
		if second := indepHKDF(secret, indepPairInfo("hint", sender, recipient, hour), 8); hex.EncodeToString(second) != v[4] {
			t.Errorf("hint of hour %d: the second implementation has %x", hour, second)
		}
	}
	for _, v := range vectors(t, "datagram") {
		kind, _ := strconv.Atoi(v[0])
		n, _ := strconv.Atoi(v[3])
		d := datagram{kind: directType(kind), tag: tag(unhex(t, v[1])), sealed: make([]byte, n)}
		copy(d.hint[:], unhex(t, v[2]))
		want := append(unhex(t, v[4]), d.sealed...)
		if got := appendDatagram(nil, d); !bytes.Equal(got, want) {
			t.Errorf("datagram of type %d: got %x, want %x", kind, got[:24], want[:24])
		}
		if got, ok := parseDatagram(want); !ok || got.kind != d.kind || got.tag != d.tag || got.hint != d.hint || len(got.sealed) != n {
			t.Errorf("datagram of type %d: parsed %+v, %v", kind, got, ok)
		}
	}
}

func TestVectorsOfRecords(t *testing.T) {
	list := func(text string) (addrs []netip.AddrPort) {
		for _, s := range strings.Split(text, ",") {
			if s != "-" {
				addrs = append(addrs, netip.MustParseAddrPort(s))
			}
		}
		return addrs
	}
	check := func(want places, text string) {
		body := unhex(t, text)
		if got, err := parseRecord(body); err != nil || !slices.Equal(got.addrs, want.addrs) || !slices.Equal(got.relays, want.relays) {
			t.Errorf("%s: parsed %v, %v", text, got, err)
		}
		if got := appendRecord(nil, want); !bytes.Equal(got, body) {
			t.Errorf("%v: built %x, want %x", want, got, body)
		}
	}
	for _, v := range vectors(t, "record") {
		check(places{addrs: list(v[0])}, v[1])
	}
	for _, v := range vectors(t, "recordvia") {
		check(places{list(v[0]), list(v[1])}, v[2])
	}
	for _, v := range vectors(t, "norecord") {
		if got, err := parseRecord(unhex(t, v[1])); err == nil {
			t.Errorf("%s: parsed %v, want it refused", v[0], got)
		}
	}
}

// TestPrintVectors prints the slot lines of the vector file: go test -run PrintVectors -print-vectors.
func TestPrintVectors(t *testing.T) {
	if !*printVectors {
		return
	}
	a := []byte(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0xa1}, 32)).Public().(ed25519.PublicKey))
	b := []byte(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0xb2}, 32)).Public().(ed25519.PublicKey))
	secret := bytes.Repeat([]byte{0x5e}, 32)
	const hour = 500_000
	for _, p := range []string{"presence", "request", "answer"} {
		for _, h := range []uint64{hour, hour + 1} {
			public, target := indepSlot(indepHKDF(secret, indepPairInfo(p, a, b, h), 32))
			fmt.Printf("slot %x %s %x %x %d %x %x\n", secret, p, a, b, h, public, target)
		}
	}
	public, target := indepSlot(indepHKDF(secret, indepPairInfo("request", b, a, hour), 32))
	fmt.Printf("slot %x request %x %x %d %x %x\n", secret, b, a, hour, public, target)
	for n := range byte(4) {
		public, target := indepSlot(indepHKDF(a, indepCalltoInfo(a, hour, n), 32))
		fmt.Printf("callto %x %d %d %x %x\n", a, hour, n, public, target)
	}
	hint := indepHKDF(secret, indepPairInfo("hint", a, b, hour), 8)
	fmt.Printf("hint %x %x %x %d %x\n", secret, a, b, hour, hint)
	const tag = "0102030405060708"
	fmt.Printf("datagram 1 %s %x 896 54010100%s%x\n", tag, hint, tag, hint)
	fmt.Printf("datagram 2 %s - 0 54010200%s\n", tag, tag)
	fmt.Printf("datagram 3 %s - 992 54010300%s\n", tag, tag)
}

func TestHoursToRead(t *testing.T) {
	const hour = 500_000
	at := func(min, sec int) time.Time {
		return time.Unix(hour*3600, 0).Add(time.Duration(min)*time.Minute + time.Duration(sec)*time.Second)
	}
	for _, c := range []struct {
		at   time.Time
		want []int64
	}{
		{at(0, 0), []int64{hour - 1, hour}},
		{at(6, 59), []int64{hour - 1, hour}}, // 5 min of skew and 2 min of life
		{at(7, 0), []int64{hour}},
		{at(54, 59), []int64{hour}},
		{at(55, 0), []int64{hour, hour + 1}},
		{at(59, 59), []int64{hour, hour + 1}},
	} {
		if got := hoursToRead(c.at, signalling.MaxLife); !slices.Equal(got, c.want) {
			t.Errorf("at %s: %v, want %v", c.at.UTC().Format("04:05"), got, c.want)
		}
	}
	for _, c := range []struct {
		at   time.Time
		want []int64
	}{
		{at(0, 0), []int64{hour - 1, hour}},
		{at(30, 0), []int64{hour - 1, hour}},
		{at(59, 59), []int64{hour - 1, hour, hour + 1}},
	} {
		if got := hoursToRead(c.at, time.Hour-signalling.Skew); !slices.Equal(got, c.want) {
			t.Errorf("presence at %s: %v, want %v", c.at.UTC().Format("04:05"), got, c.want)
		}
	}
	// Whatever a writer's clock says within the skew, a reader looks where it wrote, for as long as the message lives.
	for now := at(0, 0); now.Before(at(60, 0)); now = now.Add(17 * time.Second) {
		read := hoursToRead(now, signalling.MaxLife)
		for _, written := range []time.Time{now, now.Add(-signalling.MaxLife)} {
			for _, wrong := range []time.Duration{-signalling.Skew, 0, signalling.Skew} {
				if h := hourOf(written.Add(wrong)); !slices.Contains(read, h) {
					t.Fatalf("at %v hours %v are read, and a message of %v by a clock %v off is in hour %d", now, read, written, wrong, h)
				}
			}
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	two := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:17001"), netip.MustParseAddrPort("[::1]:17001")}
	f.Add(appendRecord(nil, places{addrs: two}))
	f.Add(appendRecord(nil, places{two, two}))
	f.Add([]byte{1, 6})
	f.Add([]byte{1, 1, 16})
	f.Fuzz(func(t *testing.T, b []byte) {
		addrs, err := parseRecord(b)
		if err != nil {
			return
		}
		if again := appendRecord(nil, addrs); !bytes.HasPrefix(b, again) {
			t.Errorf("%x parsed as %v, which builds %x", b, addrs, again)
		}
	})
}

func FuzzParseDatagram(f *testing.F) {
	f.Add(appendDatagram(nil, datagram{kind: directRequest, sealed: make([]byte, signalling.SealedSmall)}))
	f.Add(appendDatagram(nil, datagram{kind: directReceipt}))
	f.Add(appendDatagram(nil, datagram{kind: directAnswer, sealed: make([]byte, signalling.SealedLarge)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, ok := parseDatagram(b)
		if !ok {
			return
		}
		if again := appendDatagram(nil, d); !bytes.Equal(again, b) {
			t.Errorf("%x parsed as %+v, which builds %x", b, d, again)
		}
	})
}
