package transfer

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// rawPeer speaks bytes instead of the protocol.
type rawPeer struct {
	t *testing.T
	s *memStream
}

func (p rawPeer) write(s string) {
	if _, err := io.WriteString(p.s, s); err != nil {
		p.t.Logf("raw peer writes %.20q: %v", s, err)
	}
}

// header reads as far as the blank line.
func (p rawPeer) header() string {
	var b strings.Builder
	var c [1]byte
	for !strings.HasSuffix(b.String(), "\n\n") {
		if _, err := io.ReadFull(p.s, c[:]); err != nil {
			p.t.Errorf("raw peer reads a header: %v", err)
			break
		}
		b.Write(c[:])
	}
	return b.String()
}

// readAll reads what there is, until the end or an error.
func (p rawPeer) readAll() string {
	b, _ := io.ReadAll(p.s)
	return string(b)
}

const testID = "t-abcdefghijklmnopqrstuvwxyz"

func goodHeader(size int64) string {
	return string(appendHeader(nil, header{Offer: Offer{ID: testID, Name: "a.txt", Size: size}, digest: digestName}))
}

// TestBadHeaders: what a receiver does with the first text of a stranger.
func TestBadHeaders(t *testing.T) {
	edit := func(old, new string) string {
		h := strings.Replace(goodHeader(5), old, new, 1)
		if h == goodHeader(5) {
			panic("nothing edited: " + old)
		}
		return h
	}
	for _, test := range []struct {
		name   string
		text   string
		answer string // what the sender is told; nothing means a reset
		kind   error
	}{
		{"negative size", edit("Length: 5", "Length: -5"), "", ErrProtocol},
		{"signed size", edit("Length: 5", "Length: +5"), "", ErrProtocol},
		{"size with a leading zero", edit("Length: 5", "Length: 05"), "", ErrProtocol},
		{"size in hexadecimal", edit("Length: 5", "Length: 0x5"), "", ErrProtocol},
		{"no number", edit("Length: 5", "Length: "), "", ErrProtocol},
		{"size beyond 2^62", edit("Length: 5", "Length: 4611686018427387905"), "", ErrProtocol},
		{"size beyond 2^64", edit("Length: 5", "Length: 18446744073709551621"), "", ErrProtocol},
		{"no size", edit("Content-Length: 5\n", ""), "", ErrProtocol},
		{"two sizes", edit("Offset: 0", "Content-Length: 6"), "", ErrProtocol},
		{"no name", edit("Display-Name: a.txt\n", ""), "", ErrProtocol},
		{"no id", edit("Transfer-Id: "+testID+"\n", ""), "", ErrProtocol},
		{"id too short", edit(testID, testID[:20]), "", ErrProtocol},
		{"id with a path", edit(testID, "t-../../../../../etc/passwd."), "", ErrProtocol},
		{"another digest", edit("k12-256", "md5"), "", ErrProtocol},
		{"no digest", edit("Digest-Algorithm: k12-256\n", ""), "", ErrProtocol},
		{"offset beyond the end", edit("Offset: 0", "Offset: 6"), "", ErrProtocol},
		{"offset, and nothing is here", edit("Offset: 0", "Offset: 2"), "", ErrProtocol},
		{"line without a colon", edit("Offset: 0", "Offset 0"), "", ErrProtocol},
		{"carriage returns", strings.ReplaceAll(goodHeader(5), "\n", "\r\n"), "", ErrProtocol},
		{"bytes outside ASCII", edit("a.txt", "ä.txt"), "", ErrProtocol},
		{"escape cut short", edit("a.txt", "a%2"), "", ErrProtocol},
		{"escape of nothing", edit("a.txt", "%zz"), "", ErrProtocol},
		{"name not UTF-8", edit("a.txt", "%ff%fe"), "", ErrProtocol},
		{"nothing but the blank line", "\n", "", ErrProtocol},
		{"garbage", strings.Repeat("\x00\xff\x17\x03", 2000), "", ErrProtocol},
		{"too long", "X: " + strings.Repeat("x", MaxHeader) + "\n" + goodHeader(5), "", ErrProtocol},
		{"too many lines", strings.Repeat("X: y\n", maxLines) + goodHeader(5), "", ErrProtocol},
		{"text after the blank line", goodHeader(5) + "Offset: 1\n", "", ErrProtocol},
		{"ends in the middle", goodHeader(5)[:30], "", ErrInterrupted},
		{"nothing", "", "", ErrInterrupted},

		{"name with a path up", edit("a.txt", "../a.txt"), "NGO name\n", ErrName},
		{"name with an escaped path up", edit("a.txt", "..%2fa.txt"), "NGO name\n", ErrName},
		{"absolute name", edit("a.txt", "/etc/passwd"), "NGO name\n", ErrName},
		{"name is the directory", edit("a.txt", "."), "NGO name\n", ErrName},
		{"name is the parent", edit("a.txt", ".."), "NGO name\n", ErrName},
		{"empty name", edit("a.txt", ""), "NGO name\n", ErrName},
		{"name with NUL", edit("a.txt", "a%00.txt"), "NGO name\n", ErrName},
		{"name with a newline", edit("a.txt", "a%0a.txt"), "NGO name\n", ErrName},
		{"name with an escape sequence", edit("a.txt", "a%1b[31m"), "NGO name\n", ErrName},
		{"name of 256 bytes", edit("a.txt", strings.Repeat("n", 256)), "NGO name\n", ErrName},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := memPipe("")
				go func() {
					rawPeer{t, a}.write(test.text)
					a.CloseWrite()
				}()
				_, err := ReadOffer(t.Context(), b, ReceiveOptions{})
				if !errors.Is(err, test.kind) {
					t.Errorf("ReadOffer: %v, want %v", err, test.kind)
				}
				if got := (rawPeer{t, a}).readAll(); got != test.answer {
					t.Errorf("the sender is told %q, want %q", got, test.answer)
				}
				wantEnded(t, b)
				a.Close()
			})
		})
	}
}

// TestUnknownLines are for later versions, and are skipped by this one.
func TestUnknownLines(t *testing.T) {
	h, err := parseHeader([]byte("Chunk-Size: 1048576\n" + goodHeader(5)))
	if err != nil || h.Size != 5 || h.Name != "a.txt" {
		t.Errorf("got %+v, %v", h, err)
	}
	sum, err := parseTrailer([]byte("Sha3-256: 00\nDigest: " + strings.Repeat("0f", 32) + "\n\n"))
	if err != nil || sum[31] != 0x0f {
		t.Errorf("got %v, %v", sum, err)
	}
}

// TestBadBodies: what a receiver does with what follows GO.
func TestBadBodies(t *testing.T) {
	var empty [32]byte
	wrong := string(appendTrailer(nil, empty))
	right := "Digest: " + helloDigest + "\n\n"
	for _, test := range []struct {
		name   string
		body   string
		answer string
		kind   error
	}{
		{"as it should be", "hello" + right, "GO 0\nOK\n", nil},
		{"wrong digest", "hello" + wrong, "GO 0\nBAD integrity\n", ErrIntegrity},
		{"one bit wrong", "hellp" + right, "GO 0\nBAD integrity\n", ErrIntegrity},
		{"body too short", "hell", "", ErrInterrupted},
		{"body too short, with its digest", "hell" + right, "", ErrProtocol},
		{"body too long", "hello!" + right, "", ErrProtocol},
		{"no body", "", "", ErrInterrupted},
		{"no digest", "hello", "", ErrInterrupted},
		{"blank line alone", "hello\n", "", ErrProtocol},
		{"digest cut short", "hello" + right[:40], "", ErrProtocol},
		{"digest too short", "helloDigest: 00\n\n", "", ErrProtocol},
		{"digest not hexadecimal", "hello" + strings.Replace(right, helloDigest[:2], "zz", 1), "", ErrProtocol},
		{"two digests", "hello" + right[:len(right)-1] + right, "", ErrProtocol},
		{"endless trailer", "hello" + strings.Repeat("X: y\n", 10000), "", ErrProtocol},
		{"bytes after the trailer", "hello" + right + "x", "", ErrProtocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := memPipe("")
				dir := openDir(t)
				peer := rawPeer{t, a}
				peer.write(goodHeader(5))
				in, err := ReadOffer(t.Context(), b, ReceiveOptions{})
				if err != nil {
					t.Fatal(err)
				}
				accepted := accept(t, in, dir)
				synctest.Wait()
				peer.write(test.body)
				a.CloseWrite()
				if err := <-accepted; !errors.Is(err, test.kind) {
					t.Errorf("Accept: %v, want %v", err, test.kind)
				}
				if got := peer.readAll(); got != test.answer {
					t.Errorf("the sender is told %q, want %q", got, test.answer)
				}
				wantEnded(t, b)
				if test.kind != nil {
					wantEmpty(t, dir)
				}
			})
		})
	}
}

// TestBadAnswers: what a sender does with a receiver's lines.
func TestBadAnswers(t *testing.T) {
	for _, test := range []struct {
		name    string
		answer  string
		verdict string
		kind    error
		by      Side
	}{
		{"refused", "NGO declined no thanks\n", "", ErrDeclined, Remote},
		{"refused in a word of a later version", "NGO queue-full try later\n", "", ErrDeclined, Remote},
		{"refused without a word", "NGO\n", "", ErrDeclined, Remote},
		{"no space there", "NGO no-space\n", "", ErrNoSpace, Remote},
		{"name refused", "NGO name\n", "", ErrName, Remote},
		{"offset not offered", "GO 5\n", "", ErrProtocol, Local},
		{"offset negative", "GO -1\n", "", ErrProtocol, Local},
		{"no offset", "GO\n", "", ErrProtocol, Local},
		{"verdict for an answer", "OK\n", "", ErrProtocol, Local},
		{"no verb", "\n", "", ErrProtocol, Local},
		{"another protocol", "HTTP/1.1 200 OK\r\n", "", ErrProtocol, Local},
		{"endless", strings.Repeat("G", 5000), "", ErrProtocol, Local},
		{"nothing", "", "", ErrInterrupted, Remote},
		{"cut short", "GO 0", "", ErrInterrupted, Remote},

		{"digest wrong", "GO 0\n", "BAD integrity\n", ErrIntegrity, Remote},
		{"disk full at the end", "GO 0\n", "BAD no-space\n", ErrNoSpace, Remote},
		{"not stored", "GO 0\n", "BAD storage disk on fire\n", ErrStorage, Remote},
		{"not stored, in a word of a later version", "GO 0\n", "BAD virus\n", ErrStorage, Remote},
		{"no verdict", "GO 0\n", "", ErrInterrupted, Remote},
		{"another verdict", "GO 0\n", "GO 0\n", ErrProtocol, Local},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := memPipe("")
				sent := send(t.Context(), a, openSource(t, writeFile(t, "f", []byte("hello"))), SendOptions{})
				peer := rawPeer{t, b}
				peer.header()
				peer.write(test.answer)
				if test.answer == "GO 0\n" {
					if got := peer.readAll(); got != "helloDigest: "+helloDigest+"\n\n" {
						t.Errorf("body and trailer are %q", got)
					}
					peer.write(test.verdict)
				}
				b.CloseWrite()
				out := <-sent
				wantKind(t, "sender", out.err, test.kind, test.by)
				wantEnded(t, a)
				b.Close()
			})
		})
	}
}

// TestResetCodes: every code of the table arrives as the error it left as.
func TestResetCodes(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.word, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := memPipe("")
				sent := send(t.Context(), a, openSource(t, writeFile(t, "f", content(big))), SendOptions{})
				peer := rawPeer{t, b}
				peer.header()
				peer.write("GO 0\n")
				synctest.Wait()
				b.Reset(k.code, "")
				err := (<-sent).err
				wantKind(t, "sender", err, k.kind, Remote)
				if Outcome(err) != k.word || a.lastCode() != k.code {
					t.Errorf("outcome %q, mirrored as %#x", Outcome(err), a.lastCode())
				}
			})
		})
	}
	if got := kindOfCode(10); got != ErrChanged {
		t.Errorf("the mux's file changed means %v", got)
	}
	if got := kindOfCode(0); got != ErrInterrupted {
		t.Errorf("a foreign code means %v", got)
	}
}

func ExampleError() {
	err := error(&Error{Kind: ErrDeclined, By: Remote, Detail: "not now"})
	fmt.Println(err)
	fmt.Println(errors.Is(err, ErrDeclined), Outcome(err))
	// Output:
	// transfer: declined by the peer: not now
	// true declined
}
