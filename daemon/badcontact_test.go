package daemon

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"traverse.internal/core/framing"
	"traverse.internal/transfer"
)

const badChannel = framing.FirstOfferer

// A contact whose frames break the mux's rules, row by row, against a whole node: its session ends with the reason told and logged, or goes on where nothing was
// broken. Meanwhile another contact is served, memory stays bounded, and the log gets a few lines a session.
func TestContactBreaksTheMux(t *testing.T) {
	lab := newBadLab(t, nil)
	for _, c := range []struct {
		name string
		code framing.Code // CodeNone: the session goes on
		do   func(l *badLink)
	}{
		{"overruns a window", framing.CodeProtocol, func(l *badLink) {
			l.open(badChannel, pingChannel)
			body := make([]byte, framing.BulkBody)
			for range 64 { // the echo is not acknowledged, so reading stops after 256 KiB
				l.data(badChannel, body)
			}
		}},
		{"ends a channel twice", framing.CodeProtocol, func(l *badLink) {
			l.open(badChannel, "file://"+transfer.NewID())
			l.data(badChannel, nil)
			l.data(badChannel, nil)
		}},
		{"sends data behind the end", framing.CodeProtocol, func(l *badLink) {
			l.open(badChannel, pingChannel)
			l.data(badChannel, nil)
			l.data(badChannel, []byte("x"))
		}},
		{"sends data on what is no channel", framing.CodeProtocol, func(l *badLink) { l.data(7, []byte("x")) }},
		{"opens a number of the other side's", framing.CodeProtocol, func(l *badLink) {
			l.control(&framing.ChannelRequest{ID: 1, Name: pingChannel})
		}},
		{"msgpack cut short on channel 0", framing.CodeProtocol, func(l *badLink) { l.write([]byte{0, 4, 0, 0, 0x83, 0xa2, 'i', 'd'}) }},
		{"msgpack cut short on channel 0xffff", framing.CodeProtocol, func(l *badLink) { l.write([]byte{0, 2, 0xff, 0xff, 0x82, 0}) }},
		{"a map that says it has 2^32 pairs", framing.CodeProtocol, func(l *badLink) {
			l.write([]byte{0, 5, 0xff, 0xff, 0xdf, 0xff, 0xff, 0xff, 0xff})
		}},
		{"a message of a later version, with a critical field", framing.CodeUnsupported, func(l *badLink) {
			l.write([]byte{0, 7, 0xff, 0xff, 0x82, 0, 99, 1, 0x92, 0, 7})
		}},
		{"messages of a later version", framing.CodeNone, func(l *badLink) {
			for range 10_000 {
				l.write([]byte{0, 3, 0xff, 0xff, 0x81, 0, 99})
			}
		}},
		{"RESUME in the middle", framing.CodeProtocol, func(l *badLink) { l.control(&framing.Resume{SessionID: l.id}) }},
		{"answers to what was never asked", framing.CodeNone, func(l *badLink) {
			for i := range framing.ChannelID(1000) {
				l.control(&framing.ChannelRequest{ID: 1 + i, Name: "x", IsAnswer: true, Accepted: true})
			}
		}},
		{"names of every length and encoding", framing.CodeNone, openOddNames},
		{"100,000 channels", framing.CodeNone, openManyRaw},
		{"requests whose answers it never reads", framing.CodeNone, func(l *badLink) {
			close(l.sleep)
			for i := 0; i < 200_000 && l.control(&framing.ChannelRequest{ID: badChannel + framing.ChannelID(i%16_000), Name: strings.Repeat("x", framing.MaxName)}); i++ {
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab.during(t, func(logged int) {
				l := lab.bad.session(t)
				c.do(l)
				select {
				case <-l.sleep: // it reads nothing any more: what it is told it cannot know
					until(t, "the session is over", func() bool { return lab.log.has(logged, "event=ended") })
					return
				default:
				}
				if c.code == framing.CodeNone {
					l.alive()
					return
				}
				l.ended(c.code)
				until(t, "the end is in the log", func() bool { return lab.log.has(logged, "event=ended") })
				if lines, _ := lab.log.since(logged); !lab.log.has(logged, "peer broke the protocol") {
					t.Errorf("the log does not say why: %q", lines)
				}
			})
		})
	}
}

// openOddNames asks for channels of every length and of odd bytes. What cannot be a name is reset; all else is answered.
func openOddNames(l *badLink) {
	id, refused := badChannel, 0
	ask := func(name string) {
		b := append([]byte{0x83, 0xa2, 'i', 'd', 0xcd, byte(id >> 8), byte(id), 0xa4, 'n', 'a', 'm', 'e', 0xda}, byte(len(name)>>8), byte(len(name)))
		b = append(append(b, name...), 0xa8, 'i', 's', 'A', 'n', 's', 'w', 'e', 'r', 0xc2)
		l.write(append(framing.AppendHeader(nil, framing.Header{Length: uint16(len(b)), Channel: framing.Control}), b...))
		id++
	}
	for n := 0; n <= 2*framing.MaxName; n += 1 + n/16 {
		ask(strings.Repeat("n", n))
	}
	odd := []string{
		"\x00", "ping\x00", "\xff\xfe", "\xed\xa0\x80", "\xc0\xaf", "\xe9t\xe9", "\x1b[2J", "..", "../../etc/passwd", "/", "file://", "file://../../../etc", "file://" + strings.Repeat("a", 1000),
		"file-again://", "file-again://t-../../../../../../../etc/pa", "tcp://", "tcp://127.0.0.1:22", "pipe://", "\u202egnip", "ｐｉｎｇ", "PING", "ping ", " ping", joinChannel, contactsChannel,
	}
	for _, name := range odd {
		ask(name)
	}
	total := int(id - badChannel)
	for n := 0; n < total; {
		select {
		case m, more := <-l.msgs:
			if !more {
				l.t.Fatal("the link has ended")
			}
			switch m := m.(type) {
			case *framing.ChannelRequest:
				if m.IsAnswer {
					n++
				}
			case *framing.Reset:
				if m.Code == framing.CodeName {
					refused++
					n++
				}
			}
		case <-time.After(labPatience):
			l.t.Fatalf("%d of %d names were answered", n, total)
		}
	}
	if refused < 5 {
		l.t.Errorf("%d names were refused as none", refused)
	}
}

// openManyRaw asks for every number there is, several times over, a thousand ahead of the answers: one that does not read those is another test's.
func openManyRaw(l *badLink) {
	rounds := 3
	if raceDetector {
		rounds = 1
	}
	const all = int(framing.LastOfferer - framing.FirstOfferer)
	for range rounds {
		ahead, over := make(chan struct{}, 1000), make(chan struct{})
		n := 0
		go func() {
			defer close(over)
			for m := range l.msgs {
				if q, ok := m.(*framing.ChannelRequest); !ok || !q.IsAnswer {
					continue
				}
				<-ahead
				if n++; n%1000 == 0 {
					l.control(&framing.Ack{Count: l.got.Load()}) // else too much is kept for it
				}
				if n == all {
					return
				}
			}
		}()
		for id := framing.FirstOfferer; id < framing.LastOfferer; id++ {
			select {
			case ahead <- struct{}{}:
				l.control(&framing.ChannelRequest{ID: id, Name: "nothing of that name"})
			case <-over:
			}
		}
		if <-over; n != all {
			l.t.Fatalf("%d of %d requests were answered", n, all)
		}
	}
}

// A link that begins with a RESUME of nothing, of another's session, or of its own with a wrong MAC, takes over nothing, and says why.
func TestContactResumesNonsense(t *testing.T) {
	lab := newBadLab(t, nil)
	if _, _, _, err := lab.good.Ping(t.Context(), "node"); err != nil {
		t.Fatal(err)
	}
	others := lab.node.manager.Sessions()[0].SessionID
	mine := lab.bad.session(t)
	for _, c := range []struct {
		name string
		r    framing.Resume
	}{
		{"of no session", framing.Resume{SessionID: [16]byte{1, 2, 3}, Epoch: 2}},
		{"of another contact's session", framing.Resume{SessionID: others, Epoch: 2}},
		{"of its own, with a wrong MAC", framing.Resume{SessionID: mine.id, Epoch: 2}},
		{"of its own, with the greatest numbers", framing.Resume{SessionID: mine.id, Epoch: 1<<32 - 1, Received: framing.MaxOffset}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab.during(t, func(int) {
				l := lab.bad.dial(t)
				l.control(&c.r)
				if m := await[*framing.GoAway](l); m == nil || m.Code == framing.CodeNone {
					t.Errorf("it was answered by %+v", m)
				}
			})
		})
	}
	mine.alive()
}

// entryBytes is one row of an offer's list.
func entryBytes(kind byte, path string, size uint64, target string) []byte {
	b := append([]byte{kind, 1, 0xa4}, make([]byte, 8)...)
	b = binary.BigEndian.AppendUint64(b, size)
	b = binary.BigEndian.AppendUint16(b, uint16(len(path)))
	return append(append(b, path...), target...)
}

func offerText(id, name string, size uint64, entries, chunk int, list []byte) string {
	return fmt.Sprintf("Transfer-Version: 2\nContent-Length: %d\nDisplay-Name: %s\nTransfer-Id: %s\nEntries: %d\nManifest-Length: %d\nChunk-Length: %d\nDigest-Algorithm: k12-256-chunks\n\n%s",
		size, name, id, entries, len(list), chunk, list)
}

// A contact whose offers lie, escape or cannot be: each is refused on its channel with the right word, the session goes on, and nothing lands outside the folder or
// under a name of the contact's choosing.
func TestContactOffersNonsense(t *testing.T) {
	lab := newBadLab(t, nil)
	const mib = 1 << 20
	const integrity, protocol, interrupted = 0x0108, 0x0109, 0x010a
	for _, c := range []struct {
		name string
		text func(id string) string
		says string       // what the sender is told in a line
		code framing.Code // or by a reset
	}{
		{"10^18 bytes", func(id string) string {
			return offerText(id, "a", 1e18, 1, 64*mib, entryBytes(1, "a", 1e18, ""))
		}, "", protocol},
		{"2^63 bytes", func(id string) string {
			return offerText(id, "a", 1<<63, 1, mib, entryBytes(1, "a", 1<<63, ""))
		}, "", protocol},
		{"as much as an offer may say, which no disk has", func(id string) string {
			return offerText(id, "a", 1<<46, 1, 64*mib, entryBytes(1, "a", 1<<46, ""))
		}, "NGO storage 70368744177664 bytes needed", 0},
		{"10^9 entries", func(id string) string { return offerText(id, "a", 0, 1e9, mib, entryBytes(1, "a", 0, "")) }, "", protocol},
		{"131,072 entries in a list of one", func(id string) string { return offerText(id, "a", 0, 1<<17, mib, entryBytes(1, "a", 0, "")) }, "", protocol},
		{"a list of 16 MiB that does not come", func(id string) string {
			return strings.Replace(offerText(id, "a", 0, 1<<17, mib, entryBytes(1, "a", 0, "")), "Manifest-Length: 22", "Manifest-Length: 16777216", 1)
		}, "", interrupted},
		{"a list of more than 16 MiB", func(id string) string {
			return strings.Replace(offerText(id, "a", 0, 1<<17, mib, entryBytes(1, "a", 0, "")), "Manifest-Length: 22", "Manifest-Length: 16777217", 1)
		}, "", protocol},
		{"chunks of one byte", func(id string) string { return offerText(id, "a", 5, 1, 1, entryBytes(1, "a", 5, "")) }, "", protocol},
		{"a path up", func(id string) string { return offerText(id, "..", 5, 1, mib, entryBytes(1, "..", 5, "")) }, "NGO name", 0},
		{"a path up in a folder", func(id string) string {
			return offerText(id, "d", 5, 2, mib, append(entryBytes(2, "d", 0, ""), entryBytes(1, "d/../../x", 5, "")...))
		}, "NGO name", 0},
		{"an absolute path", func(id string) string { return offerText(id, "/tmp/x", 5, 1, mib, entryBytes(1, "/tmp/x", 5, "")) }, "NGO name", 0},
		{"a link out", func(id string) string {
			return offerText(id, "d", 0, 2, mib, append(entryBytes(2, "d", 0, ""), entryBytes(3, "d/l", 9, "../../etc")...))
		}, "NGO name", 0},
		{"NUL in a name", func(id string) string { return offerText(id, "a%00b", 5, 1, mib, entryBytes(1, "a\x00b", 5, "")) }, "NGO name", 0},
		{"a name that is no UTF-8", func(id string) string { return offerText(id, "%ff%fe", 5, 1, mib, entryBytes(1, "\xff\xfe", 5, "")) }, "", protocol},
		{"a name that is no UTF-8, in a folder", func(id string) string {
			return offerText(id, "d", 5, 2, mib, append(entryBytes(2, "d", 0, ""), entryBytes(1, "d/\xff", 5, "")...))
		}, "NGO name", 0},
		{"another id than the channel's", func(string) string {
			return offerText(transfer.NewID(), "a", 5, 1, mib, entryBytes(1, "a", 5, ""))
		}, "", protocol},
		{"GO instead of an offer", func(string) string { return "GO 0 0\n" + strings.Repeat("\x00", 5000) }, "", protocol},
		{"a chunk with a wrong hash", func(id string) string {
			return offerText(id, "a", 5, 1, mib, entryBytes(1, "a", 5, "")) // its body follows
		}, "GO 0 0\n", integrity},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab.during(t, func(int) {
				l, id := lab.bad.session(t), transfer.NewID()
				if ok, why := l.open(badChannel, transfer.ChannelName(id)); !ok {
					t.Fatalf("the channel was declined: %s", why)
				}
				l.data(badChannel, []byte(c.text(id)))
				switch c.code {
				case interrupted:
					l.data(badChannel, nil)
				case integrity:
					if m := await[*badBody](l); m == nil || string(m.data) != c.says {
						t.Fatalf("the offer was answered by %+v", m)
					}
					l.data(badChannel, append([]byte("\x01\x00\x00\x00\x00hello"), make([]byte, 32)...))
					l.data(badChannel, nil)
					c.says = ""
				}
				text, code := l.said(badChannel)
				if !strings.HasPrefix(text, c.says) || c.says == "" && text != "" || code != c.code {
					t.Errorf("the sender is told %q and reset with %#x, want %q and %#x", text, uint16(code), c.says, uint16(c.code))
				}
				l.alive()
			})
		})
	}
	for _, f := range lab.files(t) {
		if !strings.HasPrefix(f, ".traverse-") { // what has come of the transfer with the wrong hash waits for a better try
			t.Errorf("%s is in the folder", f)
		}
	}
}

// Names that are devices on Windows, or that a shell or a terminal would obey, are stored under harmless ones.
func TestContactChoosesNoName(t *testing.T) {
	lab := newBadLab(t, nil)
	for _, name := range []string{"CON", "nul.txt", "COM1", "LPT9.log", "aux", "-rf", ".bashrc", "a:b", "trailing. ", "\u202egpj.exe", "$(reboot)", "a|b"} {
		l, id := lab.bad.session(t), transfer.NewID()
		l.open(badChannel, transfer.ChannelName(id))
		var escaped strings.Builder
		for _, b := range []byte(name) {
			fmt.Fprintf(&escaped, "%%%02X", b)
		}
		l.data(badChannel, []byte(offerText(id, escaped.String(), 0, 1, 1<<20, entryBytes(1, name, 0, ""))))
		m := await[*badBody](l)
		if m == nil || string(m.data) != "GO 0 0\n" {
			t.Fatalf("%q was answered by %+v", name, m)
		}
		until(t, "it is stored, or not taken", func() bool {
			e := lab.node.table.byID(id)
			if e == nil {
				return false
			}
			l.control(&framing.Reset{Channel: badChannel, Code: framing.CodeCancelled})
			shown, _ := lab.node.table.look(e)
			return shown.State.Ended()
		})
		if e := lab.node.table.byID(id); e != nil {
			if shown, _ := lab.node.table.look(e); shown.File != transfer.SafeName(name) {
				t.Errorf("%q is shown as %q", name, shown.File)
			}
		}
		l.conn.Close()
	}
	for _, f := range lab.files(t) {
		if f != transfer.SafeName(f) && !strings.HasPrefix(f, ".traverse-") {
			t.Errorf("%q is in the folder", f)
		}
	}
}

// A contact that answers an offer with nonsense fails that transfer, with the blame where it belongs, and nothing else.
func TestContactAnswersNonsense(t *testing.T) {
	lab := newBadLab(t, nil)
	source := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(source, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, answer := range []string{"GO 99999999 0\n", "GO 2 0\n\x00\x02", "GO -1 0\n", "BAD storage\n", strings.Repeat("G", 5000), "\n", "HTTP/1.1 200 OK\r\n"} {
		lab.during(t, func(int) {
			l := lab.bad.session(t)
			l.alive()
			sent, err := lab.node.Send("bad", source)
			if err != nil {
				t.Fatal(err)
			}
			var q *framing.ChannelRequest
			for q = await[*framing.ChannelRequest](l); q != nil && q.IsAnswer; {
				q = await[*framing.ChannelRequest](l)
			}
			if q == nil {
				t.Fatal("nothing was offered")
			}
			l.control(&framing.ChannelRequest{ID: q.ID, Name: q.Name, IsAnswer: true, Accepted: true})
			await[*badBody](l)
			l.data(q.ID, []byte(answer))
			ctx, cancel := context.WithTimeout(t.Context(), labPatience)
			defer cancel()
			end, err := lab.node.Await(ctx, sent.ID, func(s Transfer) bool { return s.State.Ended() })
			if err != nil || end.State != StateFailed || end.Error == nil || end.Error.Message != "bad broke the transfer protocol" {
				t.Errorf("answered %.20q the transfer is %s, %v, %v", answer, end.State, end.Error, err)
			}
			l.alive()
		})
	}
}

// Floods of what costs something: offers, words to guests, requests for what was announced, requests to be offered again. As many are served at once as a contact
// may have, others come through, and the log says it now and then.
func TestContactFloods(t *testing.T) {
	lab := newBadLab(t, func(c *Config) { c.Accept = AcceptAsk })
	request := func() []byte {
		b, _ := json.Marshal(dataRequest{Type: requestType, Interaction: transfer.NewID(), DeviceID: lab.bad.self.String(), Transfer: transfer.NewID()})
		return b
	}
	for _, c := range []struct {
		name string
		flow func() (channel string, says []byte)
	}{
		{"requests", func() (string, []byte) { return requestChannel, request() }},
		{"requests that are none", func() (string, []byte) { return requestChannel, []byte("{{{{") }},
		{"device lists that are none", func() (string, []byte) { return accountChannel, []byte("\x00\x00\x00\x00") }},
		{"words of a guest", func() (string, []byte) { return joinChannel, []byte("hello") }},
		{"wishes to be offered again", func() (string, []byte) { return transfer.AgainName(transfer.NewID()), nil }},
		{"offers", func() (string, []byte) {
			id := transfer.NewID()
			return transfer.ChannelName(id), []byte(offerText(id, "a", 5, 1, 1<<20, entryBytes(1, "a", 5, "")))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab.during(t, func(logged int) {
				for range 4 { // sessions
					l := lab.bad.session(t)
					for i := range framing.ChannelID(300) {
						name, says := c.flow()
						l.control(&framing.ChannelRequest{ID: badChannel + i, Name: name})
						for q := await[*framing.ChannelRequest](l); q != nil; q = await[*framing.ChannelRequest](l) {
							if q.IsAnswer && q.ID == badChannel+i {
								if q.Accepted && len(says) > 0 {
									l.data(q.ID, says)
								}
								if q.Accepted && c.name != "offers" {
									l.data(q.ID, nil)
								}
								break
							}
						}
					}
					l.alive()
					l.conn.Close()
				}
			})
		})
	}
	t.Run("the inbox has room for others", func(t *testing.T) {
		if n := len(lab.node.Inbox().Transfers); n > maxServed {
			t.Errorf("%d offers of one contact are in the inbox, at most %d should", n, maxServed)
		}
		source := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(source, []byte("of use"), 0o600); err != nil {
			t.Fatal(err)
		}
		sent, err := lab.good.Send("node", source)
		if err != nil {
			t.Fatal(err)
		}
		until(t, "another contact's offer is in the inbox", func() bool { return lab.node.table.byID(sent.ID) != nil })
		if _, err := lab.node.AcceptOffer(sent.ID); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), labPatience)
		defer cancel()
		if end, err := lab.good.Await(ctx, sent.ID, func(s Transfer) bool { return s.State.Ended() }); err != nil || end.State != StateDone {
			t.Errorf("it is %s, %v, %v", end.State, end.Error, err)
		}
	})
}
