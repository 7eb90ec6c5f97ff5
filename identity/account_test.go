package identity

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the account vectors anew")

const accountVectors = "../docs/protocol/testdata/account-vectors.txt"

var listTime = time.Unix(1_800_000_000, 0).UTC()

func testAccount(fill byte) *Account {
	return &Account{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{fill}, 32))}
}

func testList(t *testing.T, version uint64, names ...string) *DeviceList {
	t.Helper()
	account := testAccount(9).ID()
	l := &DeviceList{Account: account, Version: version, Signed: listTime, Expires: listTime.Add(MaxListLife)}
	for i, name := range names {
		d := deviceFromSeed(t, strings.Repeat(fmt.Sprintf("%02x", i+1), 32))
		l.Devices = append(l.Devices, ListedDevice{ID: d.ID(), Consent: d.Consent(account), Name: name})
	}
	return l
}

func TestDeviceListRoundTrip(t *testing.T) {
	a := testAccount(9)
	l := testList(t, 3, "desk", "phone", "tür")
	raw, err := a.Sign(nil, l)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseDeviceList(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got.Account != a.ID() || got.Version != 3 || len(got.Devices) != 3 || got.Devices[2].Name != "tür" || !got.Expires.Equal(l.Expires) {
		t.Errorf("got %+v", got)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if _, err := ParseDeviceList(bad); err == nil {
			t.Errorf("a list with byte %d changed is taken", i)
		}
	}
	for n := range raw {
		if _, err := ParseDeviceList(raw[:n]); !errors.Is(err, ErrListFormat) && !errors.Is(err, ErrListSigner) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
}

func TestDeviceListRules(t *testing.T) {
	a := testAccount(9)
	for _, c := range []struct {
		name   string
		change func(*DeviceList)
	}{
		{"version 0", func(l *DeviceList) { l.Version = 0 }},
		{"eight days", func(l *DeviceList) { l.Expires = l.Signed.Add(MaxListLife + time.Second) }},
		{"no life", func(l *DeviceList) { l.Expires = l.Signed }},
		{"no consent", func(l *DeviceList) { l.Devices[1].Consent[3]++ }},
		{"consent to another account", func(l *DeviceList) {
			l.Devices[1].Consent = deviceFromSeed(t, strings.Repeat("02", 32)).Consent(testAccount(8).ID())
		}},
		{"no devices", func(l *DeviceList) { l.Devices = nil }},
		{"a device twice", func(l *DeviceList) { l.Devices[1].ID = l.Devices[0].ID }},
		{"a name twice", func(l *DeviceList) { l.Devices[1].Name = l.Devices[0].Name }},
		{"no name", func(l *DeviceList) { l.Devices[0].Name = "" }},
		{"a long name", func(l *DeviceList) { l.Devices[0].Name = strings.Repeat("x", 64) }},
		{"a name of two lines", func(l *DeviceList) { l.Devices[0].Name = "a\nb" }},
		{"a name that turns writing around", func(l *DeviceList) { l.Devices[0].Name = "a\u202eb" }},
		{"a name with a colon", func(l *DeviceList) { l.Devices[0].Name = "a:b" }},
		{"too many", func(l *DeviceList) {
			for i := range MaxListDevices {
				d, _ := New()
				l.Devices = append(l.Devices, ListedDevice{ID: d.ID(), Consent: d.Consent(testAccount(9).ID()), Name: "x" + strconv.Itoa(i)})
			}
		}},
	} {
		l := testList(t, 1, "a", "b")
		c.change(l)
		if _, err := a.Sign(nil, l); err == nil {
			t.Errorf("%s: signed", c.name)
		}
		// A signer that does not care.
		l.Account = a.ID()
		raw := appendList(nil, l)
		raw = append(raw, ed25519.Sign(a.key, append([]byte(listLabel), raw...))...)
		if _, err := ParseDeviceList(raw); !errors.Is(err, ErrListFormat) {
			t.Errorf("%s: parsed, error %v", c.name, err)
		}
	}
}

func TestDeviceListTimeAndOrder(t *testing.T) {
	l := testList(t, 5, "a")
	for _, c := range []struct {
		at   time.Time
		want error
	}{
		{listTime, nil},
		{listTime.Add(-listSkew), nil},
		{listTime.Add(-listSkew - time.Second), ErrListFuture},
		{l.Expires.Add(-time.Second), nil},
		{l.Expires, ErrListExpired},
	} {
		if err := l.CheckTime(c.at); !errors.Is(err, c.want) {
			t.Errorf("at %v: %v, want %v", c.at, err, c.want)
		}
	}
	known := testList(t, 4, "a")
	if err := l.Follows(known); err != nil {
		t.Errorf("5 after 4: %v", err)
	}
	if err := l.Follows(nil); err != nil {
		t.Errorf("5 after none: %v", err)
	}
	for _, version := range []uint64{5, 6} {
		known.Version = version
		if err := l.Follows(known); !errors.Is(err, ErrListOlder) {
			t.Errorf("5 after %d: %v", version, err)
		}
	}
	known.Account[0]++
	if err := l.Follows(known); !errors.Is(err, ErrListOther) {
		t.Errorf("another account's: %v", err)
	}
}

func TestTicket(t *testing.T) {
	inviter := deviceFromSeed(t, strings.Repeat("01", 32)).ID()
	ticket := NewTicket(TicketDevice, inviter, listTime)
	text := ticket.String()
	for _, s := range []string{text, strings.ToLower(text), text[:20] + " -\n" + text[20:]} {
		if got, err := ParseTicket(s); err != nil || got != ticket {
			t.Errorf("ParseTicket(%q) = %+v, %v", s, got, err)
		}
	}
	for i := range text {
		for _, c := range []byte{'A', 'B'} {
			bad := []byte(text)
			bad[i] = c
			if string(bad) == text {
				continue
			}
			if _, err := ParseTicket(string(bad)); !errors.Is(err, ErrTicket) {
				t.Errorf("character %d as %c is taken", i, c)
			}
		}
		if _, err := ParseTicket(text[:i]); !errors.Is(err, ErrTicket) {
			t.Errorf("%d characters are taken", i)
		}
	}
	one, err := ticket.Guest()
	if err != nil {
		t.Fatal(err)
	}
	again, _ := ticket.Guest()
	other, _ := NewTicket(TicketDevice, inviter, listTime).Guest()
	if one.ID() != again.ID() || one.ID() == other.ID() {
		t.Error("a guest is not its ticket's own")
	}
	device := deviceFromSeed(t, strings.Repeat("02", 32))
	proof := device.JoinProof(inviter, one.ID())
	if !CheckJoin(proof, inviter, one.ID(), device.ID()) || CheckJoin(proof, inviter, other.ID(), device.ID()) || CheckJoin(proof, inviter, one.ID(), inviter) {
		t.Error("a proof is good for something else, or not for what it is for")
	}
}

// The vectors' seeds: an account of 09…, devices of 01…, 02… .
func TestAccountVectors(t *testing.T) {
	var out strings.Builder
	out.WriteString("# account.md. Seeds: account 0909…, inviter and first device 0101…, second 0202….\n")
	a := testAccount(9)
	for _, l := range []*DeviceList{testList(t, 1, "desk"), testList(t, 7, "desk", "phone")} {
		raw, err := a.Sign(nil, l)
		if err != nil {
			t.Fatal(err)
		}
		var devices []string
		for _, d := range l.Devices {
			devices = append(devices, d.ID.String()+"="+d.Name)
		}
		fmt.Fprintf(&out, "list %x %s %d %d %d %s\n", raw, a.ID(), l.Version, l.Signed.Unix(), l.Expires.Unix(), strings.Join(devices, ","))
	}
	inviter := deviceFromSeed(t, strings.Repeat("01", 32))
	for _, kind := range []TicketKind{TicketContact, TicketDevice} {
		ticket := Ticket{Kind: kind, Inviter: inviter.ID(), Secret: [16]byte(bytes.Repeat([]byte{byte(kind) * 17}, 16)), Expires: listTime}
		guest, err := ticket.Guest()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "ticket %s %d %s %x %d %s\n", ticket, kind, inviter.ID(), ticket.Secret, listTime.Unix(), guest.ID())
		device := deviceFromSeed(t, strings.Repeat("02", 32))
		fmt.Fprintf(&out, "join %s %s %s %x\n", inviter.ID(), guest.ID(), device.ID(), device.JoinProof(inviter.ID(), guest.ID()))
	}
	if *update {
		if err := os.WriteFile(accountVectors, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(accountVectors)
	if err != nil || string(want) != out.String() {
		t.Errorf("the vectors differ (%v); with -update they are written anew:\n%s", err, out.String())
	}
}

func TestAccountFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "id")
	if _, err := LoadAccount(dir); !errors.Is(err, ErrMissing) {
		t.Errorf("none: %v", err)
	}
	made, err := CreateAccount(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateAccount(dir); !errors.Is(err, ErrExists) {
		t.Errorf("made twice: %v", err)
	}
	got, err := LoadAccount(dir)
	if err != nil || got.ID() != made.ID() {
		t.Errorf("LoadAccount = %v, %v", got, err)
	}
	path := filepath.Join(dir, AccountFileName)
	raw, _ := os.ReadFile(path)
	_ = os.WriteFile(path, append(raw, '\n'), 0o600)
	if _, err := LoadAccount(dir); !errors.Is(err, ErrCorrupt) {
		t.Errorf("changed: %v", err)
	}
}

func TestExport(t *testing.T) {
	for _, withAccount := range []bool{false, true} {
		from, to := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
		device, err := Create(from)
		if err != nil {
			t.Fatal(err)
		}
		if withAccount {
			if _, err := CreateAccount(from); err != nil {
				t.Fatal(err)
			}
		}
		out, err := export(from, "correct horse", 10)
		if err != nil {
			t.Fatal(err)
		}
		if secret := device.key.Seed(); bytes.Contains(out, secret) || bytes.Contains(out, []byte(base64.StdEncoding.EncodeToString(secret))) {
			t.Error("the key is in the export")
		}
		if _, err := Import(to, bytes.NewReader(out), "wrong horse"); !errors.Is(err, ErrPassphrase) {
			t.Errorf("wrong passphrase: %v", err)
		}
		if _, err := Import(to, bytes.NewReader(out[:len(out)/2]), "correct horse"); err == nil {
			t.Error("half of it is taken")
		}
		got, err := Import(to, bytes.NewReader(out), "correct horse")
		if err != nil || got.ID() != device.ID() {
			t.Fatalf("Import = %v, %v", got, err)
		}
		if again, err := Load(to); err != nil || again.ID() != device.ID() {
			t.Errorf("Load = %v, %v", again, err)
		}
		if _, err := LoadAccount(to); (err == nil) != withAccount {
			t.Errorf("LoadAccount: %v", err)
		}
		if _, err := Import(to, bytes.NewReader(out), "correct horse"); !errors.Is(err, ErrExists) {
			t.Errorf("a second time: %v", err)
		}
	}
}

func FuzzParseDeviceList(f *testing.F) {
	a := testAccount(9)
	d, _ := New()
	raw, err := a.Sign(nil, &DeviceList{Version: 1, Signed: listTime, Expires: listTime.Add(time.Hour), Devices: []ListedDevice{{ID: d.ID(), Consent: d.Consent(a.ID()), Name: "x"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:60])
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		l, rest, err := parseList(b)
		if err != nil {
			return
		}
		// What is parsed is written the same.
		if again := append(appendList(nil, l), rest...); !bytes.Equal(again, b) {
			t.Errorf("%x was read as %+v and written as %x", b, l, again)
		}
	})
}

func FuzzParseTicket(f *testing.F) {
	d, _ := New()
	f.Add(NewTicket(TicketContact, d.ID(), listTime).String())
	f.Add("TRV1")
	f.Add(hex.EncodeToString([]byte("nothing")))
	f.Fuzz(func(t *testing.T, s string) {
		ticket, err := ParseTicket(s)
		if err != nil {
			return
		}
		if again, err := ParseTicket(ticket.String()); err != nil || again != ticket {
			t.Errorf("%q was read as %+v, written and read as %+v, %v", s, ticket, again, err)
		}
	})
}
