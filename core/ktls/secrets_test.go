package ktls

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// RFC 8448 §3: the application traffic secrets of its simple handshake, and the keys of them.
var rfc8448 = []struct{ label, secret, key, iv string }{
	{
		clientSecret, "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5",
		"17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9",
	},
	{
		serverSecret, "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643",
		"9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984",
	},
}

func TestKeysOfASecret(t *testing.T) {
	for _, v := range rfc8448 {
		secret, err := hex.DecodeString(v.secret)
		if err != nil {
			t.Fatal(err)
		}
		k, err := keysOf(secret)
		if err != nil || hex.EncodeToString(k.key[:]) != v.key || hex.EncodeToString(k.iv[:]) != v.iv {
			t.Errorf("%s: key %x, iv %x, %v", v.label, k.key, k.iv, err)
		}
	}
}

// A key log has lines of other secrets too; each is taken once, ours first.
func TestSecretsOfAKeyLog(t *testing.T) {
	for _, server := range []bool{false, true} {
		var s Secrets
		for _, line := range []string{
			"", "# a comment", clientSecret, clientSecret + " 00 not-hexadecimal", clientSecret + " 00 " + strings.Repeat("xy", secretLen),
			"CLIENT_HANDSHAKE_TRAFFIC_SECRET 00 " + strings.Repeat("11", secretLen),
			fmt.Sprintf("%s 00 %s\n", clientSecret, rfc8448[0].secret), fmt.Sprintf("%s 00 %s\n", serverSecret, rfc8448[1].secret),
			serverSecret + " 00 " + strings.Repeat("22", 48), // SHA-384's
		} {
			if n, err := s.Write([]byte(line)); n != len(line) || err != nil {
				t.Errorf("%q: %d, %v", line, n, err)
			}
		}
		out, in := s.take(server)
		wantOut, wantIn := rfc8448[0].secret, rfc8448[1].secret
		if server {
			wantOut, wantIn = wantIn, wantOut
		}
		if hex.EncodeToString(out) != wantOut || hex.EncodeToString(in) != wantIn {
			t.Errorf("server %v: out %x, in %x", server, out, in)
		}
		if out, in := s.take(server); out != nil || in != nil {
			t.Error("kept")
		}
	}
}

func TestRecords(t *testing.T) {
	for n, want := range map[int]uint64{0: 0, 1: 1, MaxRecord: 1, MaxRecord + 1: 2, 65536: 4} {
		if got := Records(n); got != want {
			t.Errorf("%d bytes: %d records, want %d", n, got, want)
		}
	}
}
