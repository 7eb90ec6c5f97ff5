package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"traverse.internal/daemon"
	"traverse.internal/demo"
)

// goldenTimeout bounds a command of the test; each takes well below a second.
const goldenTimeout = 30 * time.Second

// twoHomes is a laptop and a phone, homes below one folder, and the commands run in them, in this process.
type twoHomes struct {
	t   *testing.T
	dir string
}

// TestGolden runs every command and compares what it prints with the page: one literal object each.
func TestGolden(t *testing.T) {
	t.Parallel()
	p := openPage(t)
	h := &twoHomes{t: t, dir: t.TempDir()}
	object := func(name, raw string) { t.Helper(); p.part("json "+name, h.block(raw)) }

	made := h.node("laptop", 0, "init", "--name", "laptop")
	h.node("phone", 0, "init", "--name", "phone")
	object("init", made)
	object("id", h.node("laptop", 0, "id"))
	object("id list", h.node("laptop", 0, "id", "list"))
	object("contact add", h.node("laptop", 0, "contact", "add", "phone", h.id("phone")))
	h.node("phone", 0, "contact", "add", "laptop", h.id("laptop"))
	h.node("phone", 0, "contact", "set", "laptop", "listen=on")
	object("contact ls", h.node("laptop", 0, "contact", "ls"))

	first := h.up("laptop", "--relay", "turn:u@127.0.0.1:13478?transport=tcp", "--relay-password-file", h.file("password", "p", 0o600), "--path", "direct-only",
		"--turnd", "--listen-udp", "127.0.0.1:0", "--listen-tcp", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
	object("up", first)
	var up daemon.Status
	if err := json.Unmarshal([]byte(first), &up); err != nil {
		t.Fatal(err)
	}
	h.up("phone", "--bootstrap", up.DHT.Listen)

	report := h.file("report.pdf", strings.Repeat("x", 1<<20), 0o644)
	id := h.offer(report)
	object("inbox ls", h.node("phone", 0, "inbox", "ls"))
	object("inbox show", h.node("phone", 0, "inbox", "show", id))
	object("inbox accept", h.node("phone", 0, "inbox", "accept", id, "--wait", "done"))
	h.await("laptop", id, daemon.StateDone)
	object("transfers show", h.forgotten("laptop", id))
	h.awaitSums("phone", id)
	object("transfers verify", h.node("phone", 0, "transfers", "verify", id))
	object("get", h.node("phone", 0, "get", "laptop:"+id))
	id = h.offer(report)
	object("inbox decline", h.node("phone", 0, "inbox", "decline", id, "--reason", "not now"))
	h.await("laptop", id, daemon.StateDeclined)
	object("transfers ls", h.node("laptop", 0, "transfers", "ls"))
	id = h.offer(report)
	object("transfers cancel", h.node("laptop", 0, "transfers", "cancel", id))
	h.await("phone", id, daemon.StateCancelled)
	object("send", h.send(report))
	h.services(object)
	object("error", h.node("laptop", 6, "send", report, "tablet"))
	object("status", h.forget(h.node("laptop", 0, "status")))
	h.accounts(object, up.DHT.Listen)
	object("demo", h.demo())
	p.close("json ")
}

// node runs a command in a home and returns what it prints with --json.
func (h *twoHomes) node(home string, exit int, args ...string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), goldenTimeout)
	defer cancel()
	var out, errOut bytes.Buffer
	args = append([]string{"--home", filepath.Join(h.dir, home), "--json"}, args...)
	if code := run(ctx, args, nil, &out, &errOut); code != exit {
		h.t.Fatalf("node %v: exit code %d, want %d\n%s%s", args, code, exit, out.String(), errOut.String())
	}
	if strings.Count(out.String(), "\n") != 1 || errOut.Len() > 0 {
		h.t.Fatalf("node %v printed %q and %q, want one object", args, out.String(), errOut.String())
	}
	return out.String()
}

// up runs a home's daemon until the test ends, and returns the object it prints when it is up.
func (h *twoHomes) up(home string, args ...string) string {
	h.t.Helper()
	args = append([]string{"--home", filepath.Join(h.dir, home), "--json", "up", "--private-dht", "--dht-listen", "127.0.0.1:0", "--min-free", "0B", "--log-level", "error"}, args...)
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		var errOut bytes.Buffer
		code := run(ctx, args, nil, w, &errOut)
		w.CloseWithError(io.ErrUnexpectedEOF) // nobody waits for the object any more
		if code != 0 {
			h.t.Errorf("node %v: exit code %d\n%s", args, code, errOut.String())
		}
		ended <- code
	}()
	h.t.Cleanup(func() { cancel(); <-ended })
	var object json.RawMessage
	if err := json.NewDecoder(r).Decode(&object); err != nil {
		h.t.Fatalf("node %v printed no object: %v", args, err)
	}
	return string(object)
}

// id is the device id of a home, which must have one.
func (h *twoHomes) id(home string) string {
	h.t.Helper()
	id, err := daemon.Identity(daemon.HomeAt(filepath.Join(h.dir, home)))
	if err != nil {
		h.t.Fatal(err)
	}
	return id.DeviceID
}

func (h *twoHomes) file(name, content string, mode os.FileMode) string {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// offer sends a file to the phone and returns the transfer's id once the offer waits there.
func (h *twoHomes) offer(path string) string {
	h.t.Helper()
	var sent daemon.Transfer
	if err := json.Unmarshal([]byte(h.node("laptop", 0, "send", path, "phone", "--wait", "none")), &sent); err != nil {
		h.t.Fatal(err)
	}
	h.await("phone", sent.ID, daemon.StateOffered)
	h.await("laptop", sent.ID, daemon.StateOffered)
	return sent.ID
}

// await returns when the home knows the transfer to be in the state.
func (h *twoHomes) await(home, id string, state daemon.State) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), goldenTimeout)
	defer cancel()
	c := daemon.NewClient(daemon.HomeAt(filepath.Join(h.dir, home)).Socket)
	for {
		list, err := c.Transfers(ctx)
		if err != nil {
			h.t.Fatalf("waiting for %s to be %s: %v", id, state, err)
		}
		for _, t := range list.Transfers {
			if t.ID == id && t.State == state {
				return
			}
		}
		<-time.After(5 * time.Millisecond)
	}
}

// forgotten is `transfers show` of one that has ended, once the list of what was in it is gone, which follows.
func (h *twoHomes) forgotten(home, id string) string {
	h.t.Helper()
	for deadline := time.Now().Add(goldenTimeout); ; <-time.After(5 * time.Millisecond) {
		if out := h.node(home, 0, "transfers", "show", id); strings.Contains(out, `"list":[]`) || time.Now().After(deadline) {
			return out
		}
	}
}

// awaitSums returns when the digests of the transfer's files are known in the home.
func (h *twoHomes) awaitSums(home, id string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), goldenTimeout)
	defer cancel()
	c := daemon.NewClient(daemon.HomeAt(filepath.Join(h.dir, home)).Socket)
	for {
		if _, err := c.Verify(ctx, id); err == nil {
			return
		} else if ctx.Err() != nil {
			h.t.Fatal(err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// send sends a file that the phone takes meanwhile, and returns what the command prints at the end.
func (h *twoHomes) send(path string) string {
	h.t.Helper()
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		c := daemon.NewClient(daemon.HomeAt(filepath.Join(h.dir, "phone")).Socket)
		for h.t.Context().Err() == nil {
			if list, err := c.Inbox(h.t.Context()); err == nil && len(list.Transfers) > 0 {
				if _, err := c.Accept(h.t.Context(), list.Transfers[0].ID); err == nil {
					return // an offer that was cancelled a moment ago may still be listed
				}
			}
			<-time.After(5 * time.Millisecond)
		}
	}()
	out := h.node("laptop", 0, "send", path, "phone", "--wait", "done")
	<-taken
	return out
}

// forget leaves one transfer in a status: the page has the others elsewhere.
func (h *twoHomes) forget(raw string) string {
	var s daemon.Status
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		h.t.Fatal(err)
	}
	s.Transfers = s.Transfers[len(s.Transfers)-1:]
	out, err := json.Marshal(s)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(out)
}

// demo runs the demo with small files; the page has the sizes that users see.
func (h *twoHomes) demo() string {
	h.t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		h.t.Skipf("no IPv6 loopback, which half of the demo runs over: %v", err)
	}
	l.Close()
	report, err := demo.Run(h.t.Context(), demo.Options{Dir: h.dir, DirectSize: 8 << 20})
	if err != nil || !report.Pass {
		h.t.Fatalf("the demo: %v\n%+v", err, report)
	}
	// One stage of a kind is enough on the page.
	var shown []demo.Stage
	for _, s := range report.Stages {
		switch s.Name {
		case "file to phone, direct IPv4":
			s.Bytes = demo.DirectSize
		case "private DHT", "second channel", "file to desktop, relayed IPv6":
		default:
			continue
		}
		shown = append(shown, s)
	}
	report.Stages = shown
	out, err := json.Marshal(report)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(out)
}
