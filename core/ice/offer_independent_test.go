package ice

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
)

// A second decoder, written from docs/protocol/offer.md alone and sharing nothing with the package but the vectors. It
// checks that the page says enough, and says it right.

// paperOffer is an Offer as the vectors spell it.
type paperOffer struct {
	Policy       string           `json:"policy"`
	Ufrag        string           `json:"ufrag"`
	Password     string           `json:"password"`
	Candidates   []paperCandidate `json:"candidates,omitempty"`
	Relays       []string         `json:"relays,omitempty"`
	Sources      []string         `json:"sources,omitempty"`
	Capabilities uint64           `json:"capabilities,omitempty"`
	Fingerprint  string           `json:"fingerprint,omitempty"`
	Network      []string         `json:"network,omitempty"`
	UDPUfrag     string           `json:"udp_ufrag,omitempty"`
	UDPPassword  string           `json:"udp_password,omitempty"`
}

type paperCandidate struct {
	Foundation string `json:"foundation"`
	Component  int    `json:"component"`
	Transport  string `json:"transport"`
	Priority   uint32 `json:"priority"`
	Addr       string `json:"addr"`
	Type       string `json:"type"`
	TCPType    string `json:"tcptype,omitempty"`
}

type paperVector struct {
	Name      string      `json:"name"`
	Hex       string      `json:"hex"`
	Offer     *paperOffer `json:"offer,omitempty"`
	Canonical *bool       `json:"canonical,omitempty"`
	Text      string      `json:"text,omitempty"`
	Error     string      `json:"error,omitempty"`
}

func readVectors(t *testing.T) []paperVector {
	t.Helper()
	file, err := os.ReadFile("../../docs/protocol/testdata/offer-vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []paperVector
	for line := range strings.Lines(string(file)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		var v paperVector
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, v)
	}
	return out
}

// TestVectors: the product's code reads and writes the vectors.
func TestVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		raw, err := hex.DecodeString(v.Hex)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		o, err := ParseBinary(raw)
		if v.Error != "" {
			if err == nil || !strings.Contains(err.Error(), v.Error) {
				t.Errorf("%s: got %v, want an error about %q", v.Name, err, v.Error)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		if got := onPaper(o); !reflect.DeepEqual(got, *v.Offer) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", v.Name, got, *v.Offer)
		}
		if back := hex.EncodeToString(o.AppendBinary(nil)); (back == v.Hex) != (v.Canonical == nil) {
			t.Errorf("%s: written back as %s", v.Name, back)
		}
		if got := string(o.AppendText(nil)); got != v.Text {
			t.Errorf("%s: text is %q, want %q", v.Name, got, v.Text)
		}
	}
}

// onPaper spells an Offer of the product's as the vectors do.
func onPaper(o Offer) paperOffer {
	p := paperOffer{
		Policy: o.Policy.String(), Ufrag: o.Ufrag, Password: o.Password, Capabilities: o.Capabilities,
		Fingerprint: hex.EncodeToString(o.Fingerprint), UDPUfrag: o.UDPUfrag, UDPPassword: o.UDPPassword,
	}
	for _, c := range o.Candidates {
		transport := "UDP"
		if c.TCP {
			transport = "TCP"
		}
		p.Candidates = append(p.Candidates, paperCandidate{c.Foundation, c.Component, transport, c.Priority, c.Addr.String(), c.Type.String(), c.TCPType})
	}
	for _, r := range o.Relays {
		p.Relays = append(p.Relays, r.String())
	}
	if o.Network.Symmetric {
		p.Network = append(p.Network, "symmetric")
	}
	if o.Network.Filtered {
		p.Network = append(p.Network, "filtered")
	}
	if o.Network.UDPBlocked {
		p.Network = append(p.Network, "udp-blocked")
	}
	if o.Network.Mapping != MapNone {
		p.Network = append(p.Network, o.Network.Mapping.String())
	}
	for _, s := range o.Sources {
		p.Sources = append(p.Sources, s.String())
	}
	return p
}

// TestVectorsIndependently: so does a decoder that knows only the page.
func TestVectorsIndependently(t *testing.T) {
	for _, v := range readVectors(t) {
		raw, _ := hex.DecodeString(v.Hex)
		got, err := paperDecode(raw)
		if v.Error != "" {
			if err == nil {
				t.Errorf("%s: accepted as %+v", v.Name, got)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, *v.Offer) {
			t.Errorf("%s:\ngot  %+v (%v)\nwant %+v", v.Name, got, err, *v.Offer)
		}
	}
}

var errPaper = errors.New("refused")

// paperDecode is section 3 of the page. It leaves the limits on numbers of candidates to the vectors, which obey them.
func paperDecode(b []byte) (o paperOffer, err error) {
	defer func() {
		if recover() != nil { // an index beyond the bytes: cut off
			err = errPaper
		}
	}()
	if len(b) > 700 || b[0] != 1 || b[1] > 2 {
		return o, errPaper
	}
	o.Policy = [...]string{"auto", "direct-only", "relay-only"}[b[1]]
	b = b[2:]
	cut := func(n int) []byte {
		head := b[:n]
		b = b[n:]
		return head
	}
	o.Ufrag = string(cut(int(cut(1)[0])))
	o.Password = string(cut(int(cut(1)[0])))
	if !paperWord(o.Ufrag, 4, 32) || !paperWord(o.Password, 22, 64) {
		return o, errPaper
	}
	for len(b) > 0 {
		typ := cut(1)[0]
		value := cut(int(cut(1)[0]))
		if err := paperRecord(&o, typ, value); err != nil {
			return o, err
		}
	}
	o.Candidates, o.Relays, o.Sources = paperOnce(o.Candidates), paperOnce(o.Relays), paperOnce(o.Sources)
	return o, nil
}

// paperOnce drops repeats.
func paperOnce[T comparable](in []T) (out []T) {
	seen := map[T]bool{}
	for _, v := range in {
		if !seen[v] {
			out = append(out, v)
		}
		seen[v] = true
	}
	return out
}

func paperRecord(o *paperOffer, typ byte, v []byte) error {
	number := func(n int) (x uint64) {
		for _, c := range v[:n] {
			x = x<<8 | uint64(c)
		}
		v = v[n:]
		return x
	}
	switch typ {
	case 1:
		kind := number(1)
		c := paperCandidate{Component: int(number(1)) + 1, Priority: uint32(number(4)), Transport: "TCP"}
		port, size := number(2), 4
		if kind&1 != 0 {
			size = 16
		}
		c.Addr = paperAddr(v[:size], port)
		c.Foundation = string(v[size:])
		c.Type = [...]string{"host", "srflx", "prflx", "relay"}[kind>>2&3]
		c.TCPType = [...]string{"", "passive", "so", "?"}[kind>>4&3]
		if kind&2 != 0 {
			c.Transport = "UDP"
		}
		if kind > 63 || c.TCPType == "?" || (kind&2 != 0) != (c.TCPType == "") || c.Addr == "" || !paperWord(c.Foundation, 1, 32) {
			return errPaper
		}
		o.Candidates = append(o.Candidates, c)
	case 2:
		addr := paperAddr(v[2:], number(2))
		if addr == "" {
			return errPaper
		}
		o.Relays = append(o.Relays, addr)
	case 3:
		addr := paperAddr(v, 1)
		if addr == "" {
			return errPaper
		}
		o.Sources = append(o.Sources, strings.Trim(strings.TrimSuffix(addr, ":1"), "[]"))
	case 4:
		if len(v) > 8 || v[0] == 0 || o.Capabilities != 0 {
			return errPaper
		}
		o.Capabilities = number(len(v))
	case 5:
		if len(v) < 32 || len(v) > 64 || o.Fingerprint != "" {
			return errPaper
		}
		o.Fingerprint = hex.EncodeToString(v)
	case 6:
		n := int(number(1))
		ufrag, password := string(v[:n]), string(v[n:])
		if !paperWord(ufrag, 4, 32) || !paperWord(password, 22, 64) || o.UDPUfrag != "" {
			return errPaper
		}
		if ufrag != o.Ufrag || password != o.Password {
			o.UDPUfrag, o.UDPPassword = ufrag, password
		}
	case 7:
		bits := number(1)
		if len(v) != 0 || bits == 0 || o.Network != nil {
			return errPaper
		}
		for _, word := range []struct {
			mask, is uint64
			word     string
		}{{1, 1, "symmetric"}, {2, 2, "filtered"}, {16, 16, "udp-blocked"}, {12, 4, "upnp"}, {12, 8, "pmp"}, {12, 12, "pcp"}} {
			if bits&word.mask == word.is {
				o.Network = append(o.Network, word.word)
			}
		}
	default:
		if typ >= 0x80 {
			return errPaper
		}
	}
	return nil
}

func paperWord(s string, least, most int) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	return len(s) >= least && len(s) <= most && strings.Trim(s, letters) == ""
}

// paperAddr spells address and port, or returns "" for what section 1 refuses. net.IP unmaps by itself.
func paperAddr(b []byte, port uint64) string {
	ip := net.IP(b)
	if port == 0 || len(b) != 4 && len(b) != 16 || ip.IsUnspecified() || ip.IsMulticast() || ip.Equal(net.IPv4bcast) {
		return ""
	}
	return net.JoinHostPort(ip.String(), fmt.Sprint(port))
}
