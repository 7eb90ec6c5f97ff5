package transfer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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

// header reads the header and the list of entries.
func (p rawPeer) header() string {
	var b strings.Builder
	var c [1]byte
	for !strings.HasSuffix(b.String(), "\n\n") {
		if _, err := io.ReadFull(p.s, c[:]); err != nil {
			p.t.Errorf("raw peer reads a header: %v", err)
			return b.String()
		}
		b.Write(c[:])
	}
	h, err := parseHeader([]byte(b.String()))
	if err != nil {
		p.t.Error(err)
	}
	if _, err := io.ReadFull(p.s, make([]byte, h.manifest)); err != nil {
		p.t.Errorf("raw peer reads a list: %v", err)
	}
	return b.String()
}

// readAll reads what there is, until the end or an error.
func (p rawPeer) readAll() string {
	b, _ := io.ReadAll(p.s)
	return string(b)
}

const testID = "t-abcdefghijklmnopqrstuvwxyz"

// helloTime is the modification time of the file in offers made by hand.
const helloTime = 1_700_000_000_123_456_789

// handMade is an offer of one file.
func handMade(size int64) *manifest {
	m, err := newManifest([]Entry{{Kind: File, Path: "a.txt", Mode: 0o644, Mod: helloTime, Size: size}}, chunkLenFor(size))
	if err != nil {
		panic(err)
	}
	return m
}

func goodHeader(size int64) string {
	m := handMade(size)
	h := header{
		Offer: Offer{ID: testID, Name: "a.txt", Size: size, Entries: 1}, version: wireVersion,
		manifest: int64(len(m.raw)), chunkLen: m.chunkLen, digest: digestName,
	}
	return string(append(appendHeader(nil, h), m.raw...))
}

// textOf is a header without its list.
func textOf(offer string) string { return offer[:strings.Index(offer, "\n\n")+2] }

// helloBody is the body of the five bytes hello in that offer.
func helloBody() string {
	m, sum := handMade(5), plain([]byte("hello"))
	root := rootOf(m, []Digest{sum}, nil)
	return "\x01\x00\x00\x00\x00hello" + string(sum[:]) + "\x02" + string(root[:])
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
		{"two sizes", edit("Entries: 1", "Content-Length: 6"), "", ErrProtocol},
		{"no name", edit("Display-Name: a.txt\n", ""), "", ErrProtocol},
		{"no id", edit("Transfer-Id: "+testID+"\n", ""), "", ErrProtocol},
		{"id too short", edit(testID, testID[:20]), "", ErrProtocol},
		{"id with a path", edit(testID, "t-../../../../../etc/passwd."), "", ErrProtocol},
		{"another digest", edit("k12-256-chunks", "md5"), "", ErrProtocol},
		{"no digest", edit("Digest-Algorithm: k12-256-chunks\n", ""), "", ErrProtocol},
		{"no version", edit("Transfer-Version: 2\n", ""), "NGO version\n", ErrVersion},
		{"another version", edit("Version: 2", "Version: 3"), "NGO version\n", ErrVersion},
		{"no entries", edit("Entries: 1", "Entries: 0"), "", ErrProtocol},
		{"more entries than there are", edit("Entries: 1", "Entries: 2"), "", ErrProtocol},
		{"too many entries", edit("Entries: 1", "Entries: 131073"), "", ErrProtocol},
		{"a list too long", edit("Manifest-Length: 26", "Manifest-Length: 16777217"), "", ErrProtocol},
		{"a list of another length", edit("Manifest-Length: 26", "Manifest-Length: 25"), "", ErrProtocol},
		{"a list that ends early", edit("Manifest-Length: 26", "Manifest-Length: 27"), "", ErrInterrupted},
		{"another size than in the list", edit("Length: 5", "Length: 6"), "", ErrProtocol},
		{"another name than in the list", edit("a.txt", "b.txt"), "", ErrProtocol},
		{"chunks of no power of two", edit("1048576", "1048577"), "", ErrProtocol},
		{"chunks too short", edit("1048576", "4096"), "", ErrProtocol},
		{"line without a colon", edit("Entries: 1", "Entries 1"), "", ErrProtocol},
		{"carriage returns", strings.ReplaceAll(textOf(goodHeader(5)), "\n", "\r\n"), "", ErrProtocol},
		{"bytes outside ASCII", edit("a.txt", "ä.txt"), "", ErrProtocol},
		{"escape cut short", edit("a.txt", "a%2"), "", ErrProtocol},
		{"escape of nothing", edit("a.txt", "%zz"), "", ErrProtocol},
		{"name not UTF-8", edit("a.txt", "%ff%fe"), "", ErrProtocol},
		{"nothing but the blank line", "\n", "NGO version\n", ErrVersion},
		{"garbage", strings.Repeat("\x00\xff\x17\x03", 2000), "", ErrProtocol},
		{"too long", "X: " + strings.Repeat("x", MaxHeader) + "\n" + goodHeader(5), "", ErrProtocol},
		{"too many lines", strings.Repeat("X: y\n", maxLines) + goodHeader(5), "", ErrProtocol},
		{"text after the blank line", goodHeader(5) + "x", "", ErrProtocol},
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
	h, err := parseHeader([]byte("Colour: red\n" + textOf(goodHeader(5))))
	if err != nil || h.Size != 5 || h.Name != "a.txt" {
		t.Errorf("got %+v, %v", h, err)
	}
}

// TestBadBodies: what a receiver does with what follows GO.
func TestBadBodies(t *testing.T) {
	right := helloBody()
	chunk, end := right[:len(right)-33], right[len(right)-33:]
	swap := func(s string, at int, to byte) string { return s[:at] + string([]byte{to}) + s[at+1:] }
	for _, test := range []struct {
		name   string
		body   string
		answer string
		kind   error
	}{
		{"as it should be", right, "GO 0 0\nOK\n", nil},
		{"wrong digest at the end", swap(right, len(right)-1, ^right[len(right)-1]), "GO 0 0\nBAD integrity\n", ErrIntegrity},
		{"one bit wrong", swap(right, 9, 'p'), "", ErrIntegrity},
		{"wrong digest of a chunk", swap(right, 10, ^right[10]), "", ErrIntegrity},
		{"body too short", right[:9], "", ErrInterrupted},
		{"body too short, with its digest", right[:9] + right[10:], "", ErrIntegrity},
		{"no end", chunk, "", ErrInterrupted},
		{"no body", "", "", ErrInterrupted},
		{"an end alone", end, "", ErrProtocol},
		{"a chunk twice", chunk + right, "", ErrProtocol},
		{"a chunk that is not", swap(right, 4, 1), "", ErrProtocol},
		{"a record that is not", swap(right, 0, 3), "", ErrProtocol},
		{"end cut short", right[:len(right)-1], "", ErrInterrupted},
		{"bytes after the end", right + "x", "", ErrProtocol},
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
		{"another version", "NGO version\n", "", ErrVersion, Remote},
		{"paused", "NGO paused\n", "", ErrPaused, Remote},
		{"a map that does not come", "GO 5 0\n", "", ErrInterrupted, Remote},
		{"a map of more than there is", "GO 2 0\n\x00\x02", "", ErrProtocol, Local},
		{"a map that ends with what is missing", "GO 1 0\n\x01", "", ErrProtocol, Local},
		{"a map too long", "GO 99999999 0\n", "", ErrProtocol, Local},
		{"length negative", "GO -1 0\n", "", ErrProtocol, Local},
		{"no count", "GO 0\n", "", ErrProtocol, Local},
		{"no length", "GO\n", "", ErrProtocol, Local},
		{"verdict for an answer", "BAD storage\n", "", ErrProtocol, Local},
		{"no verb", "\n", "", ErrProtocol, Local},
		{"another protocol", "HTTP/1.1 200 OK\r\n", "", ErrProtocol, Local},
		{"endless", strings.Repeat("G", 5000), "", ErrProtocol, Local},
		{"nothing", "", "", ErrInterrupted, Remote},
		{"cut short", "GO 0 0", "", ErrInterrupted, Remote},

		{"digest wrong", "GO 0 0\n", "BAD integrity\n", ErrIntegrity, Remote},
		{"disk full at the end", "GO 0 0\n", "BAD no-space\n", ErrNoSpace, Remote},
		{"not stored", "GO 0 0\n", "BAD storage disk on fire\n", ErrStorage, Remote},
		{"not stored, in a word of a later version", "GO 0 0\n", "BAD virus\n", ErrStorage, Remote},
		{"no verdict", "GO 0 0\n", "", ErrInterrupted, Remote},
		{"another verdict", "GO 0 0\n", "GO 0 0\n", ErrProtocol, Local},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := memPipe("")
				path := writeFile(t, "a.txt", []byte("hello"))
				if err := errors.Join(os.Chmod(path, 0o644), os.Chtimes(path, time.Unix(0, helloTime), time.Unix(0, helloTime))); err != nil {
					t.Fatal(err)
				}
				sent := send(t.Context(), a, sourceOf(t, path), SendOptions{})
				peer := rawPeer{t, b}
				peer.header()
				peer.write(test.answer)
				if test.answer == "GO 0 0\n" {
					if got := peer.readAll(); got != helloBody() {
						t.Errorf("the body is %q", got)
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
				sent := send(t.Context(), a, sourceOf(t, writeFile(t, "f", content(big))), SendOptions{})
				peer := rawPeer{t, b}
				peer.header()
				peer.write("GO 0 0\n")
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
