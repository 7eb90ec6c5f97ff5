package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"traverse.internal/conformance"
	"traverse.internal/internal/loopback"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What is printed is read by other programs, too.
func TestReport(t *testing.T) {
	report := conformance.Report{
		Servers: []string{"127.0.0.1:3478", "[::1]:3478"}, Passed: 2, Failed: 1, Skipped: 1, Unseen: 1,
		Results: []conformance.Result{
			{Number: 3, Ref: "RFC 8489 §14", Must: "an unknown attribute that may be ignored is ignored", Status: conformance.Pass, Millis: 4},
			{Number: 32, Ref: "RFC 8656 §7.2", Must: "a second Allocate on a 5-tuple: 437", Status: conformance.Fail, Detail: "udp 127.0.0.1:3478: a second Allocate: expected 437 Allocation Mismatch, got success", Millis: 12},
			{Number: 41, Ref: "RFC 8656 §7.2, §11.2", Must: "DONT-FRAGMENT: 420 when it is not supported, else it is obeyed in Send, too", Status: conformance.Pass, Detail: "supported", Millis: 7},
			{Number: 64, Ref: "RFC 8656 §8.2", Must: "an allocation ends with its lifetime, and its port with it", Status: conformance.Skip, Detail: "takes 10m0s: --long"},
			{Number: 120, Ref: "RFC 8489 §8.1, §10", Must: "redirections are bounded, SRV names are turn and turns", Status: conformance.Unseen, Detail: "not on the wire: what a client does"},
		},
	}
	var text, object bytes.Buffer
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	encoder := json.NewEncoder(&object)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(report); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"report.txt": text.Bytes(), "report.json": object.Bytes()} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestNothingToAsk(t *testing.T) {
	ours := serve(t, nil)
	wrong, nobody, none, unknown := ours, ours, ours, ours
	wrong.Password = "wrong"
	nobody.Servers = []netip.AddrPort{netip.AddrPortFrom(loopback.IP4, loopback.FreePort(t))}
	nobody.Wait = 1e8
	none.Servers = nil
	unknown.Only = []int{122}
	for _, c := range []struct {
		name   string
		config conformance.Config
		want   error // nil: any
	}{
		{"wrong password", wrong, conformance.ErrCredentials},
		{"nobody there", nobody, conformance.ErrUnreachable},
		{"no server", none, nil},
		{"no such number", unknown, nil},
	} {
		_, err := conformance.Run(context.Background(), c.config)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}
