package framing_test

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"traverse.internal/core/framing"
)

// vector is one block of docs/protocol/testdata/mux-vectors.txt.
type vector struct {
	name, of string
	bytes    []byte
	args     map[string]string // the other lines with a single value
	want     []string          // lines that begin with is, takes or error, in order
}

// readVectors reads the file that the independent decoder reads too.
func readVectors(t testing.TB) []vector {
	t.Helper()
	f, err := os.Open("../../docs/protocol/testdata/mux-vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []vector
	var v *vector
	for lines := bufio.NewScanner(f); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "", "#":
		case "vector":
			all = append(all, vector{name: rest, args: map[string]string{}})
			v = &all[len(all)-1]
		case "of":
			v.of = rest
		case "hex":
			v.bytes = append(v.bytes, unhex(t, rest)...)
		case "is", "takes", "error":
			v.want = append(v.want, lines.Text())
		default:
			v.args[word] = rest
		}
	}
	if len(all) < 100 {
		t.Fatalf("only %d vectors", len(all))
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// errorWord writes an error in the vectors' words.
func errorWord(err error) string {
	var protocol *framing.ProtocolError
	var critical *framing.CriticalError
	var name *framing.NameError
	switch {
	case errors.Is(err, framing.ErrShort):
		return "error short"
	case errors.As(err, &protocol):
		return "error malformed"
	case errors.As(err, &critical):
		return fmt.Sprintf("error critical %d", critical.Key)
	case errors.As(err, &name):
		return fmt.Sprintf("error name %04x", uint16(name.Channel))
	}
	return "error of another kind: " + err.Error()
}

func TestVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.name, func(t *testing.T) {
			switch v.of {
			case "header":
				checkHeader(t, v)
			case "request":
				checkBody(t, v, framing.Control)
			case "message":
				checkBody(t, v, framing.SessionChannel)
			case "stream":
				checkStream(t, v)
			case "resume-key":
				key := framing.ResumeKey(unhex(t, v.args["exporter"]))
				compare(t, fmt.Sprintf("is %x", key), v.want[0])
			case "resume-mac":
				checkMAC(t, v)
			default:
				t.Errorf("nobody checks %q", v.of)
			}
		})
	}
}

func compare(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// normal turns "takes" into "is", so that a meaning can be compared.
func normal(want string) string {
	if rest, ok := strings.CutPrefix(want, "takes "); ok {
		return "is " + rest
	}
	return want
}

func checkHeader(t *testing.T, v vector) {
	h, err := framing.ParseHeader(v.bytes)
	if err != nil {
		compare(t, errorWord(err), v.want[0])
		return
	}
	compare(t, fmt.Sprintf("is length=%d channel=%04x", h.Length, uint16(h.Channel)), v.want[0])
	compare(t, hex.EncodeToString(framing.AppendHeader(nil, h)), hex.EncodeToString(v.bytes))
}

func checkBody(t *testing.T, v vector, channel framing.ChannelID) {
	var p framing.Parser
	m, rest, err := framing.Native{}.ParseControl(&p, channel, v.bytes)
	if err != nil {
		compare(t, errorWord(err), v.want[0])
		return
	}
	if len(rest) != 0 {
		t.Errorf("%d bytes left", len(rest))
	}
	compare(t, "is "+fmt.Sprint(m), normal(v.want[0]))
	if _, ok := m.(*framing.Unknown); ok {
		return
	}
	again := framing.AppendMessage([]byte("kept"), m)
	if same := string(again) == "kept"+string(v.bytes); same != strings.HasPrefix(v.want[0], "is ") {
		t.Errorf("written again: %x, the vector says %q", again[4:], strings.Fields(v.want[0])[0])
	}
}

// checkStream reads frames as a session does: a header, its body.
func checkStream(t *testing.T, v vector) {
	var codec framing.Codec = framing.Native{}
	var p framing.Parser
	var got []string
	b := v.bytes
	for len(b) > 0 {
		h, n, err := codec.ParseHeader(b)
		if errors.Is(err, framing.ErrShort) || err == nil && len(b) < n+int(h.Length) {
			got = append(got, fmt.Sprintf("is rest=%x", b))
			break
		}
		if err != nil {
			got = append(got, errorWord(err))
			break
		}
		body := b[n : n+int(h.Length)]
		b = b[n+int(h.Length):]
		switch {
		case !h.Channel.IsData():
			m, _, err := codec.ParseControl(&p, h.Channel, body)
			if err != nil {
				got = append(got, errorWord(err))
				b = nil
				break
			}
			got = append(got, "is "+fmt.Sprint(m))
		case h.Length == 0:
			got = append(got, fmt.Sprintf("is channel=%04x EOF", uint16(h.Channel)))
		default:
			got = append(got, fmt.Sprintf("is channel=%04x data=%x", uint16(h.Channel), body))
		}
	}
	compare(t, strings.Join(got, "\n"), strings.Join(v.want, "\n"))
}

func checkMAC(t *testing.T, v vector) {
	number := func(name string) uint64 {
		n, err := strconv.ParseUint(v.args[name], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	m := framing.Resume{
		SessionID: [16]byte(unhex(t, v.args["session"])), Epoch: uint32(number("epoch")), Received: number("received"),
	}
	mac := framing.ResumeMAC([32]byte(unhex(t, v.args["key"])), framing.Side(number("from")), &m, unhex(t, v.args["exporter"]))
	compare(t, fmt.Sprintf("is %x", mac), v.want[0])
}
