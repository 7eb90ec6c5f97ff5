package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a tmpfs of 1 MiB.
func smallDisk(t *testing.T) *Dir {
	t.Helper()
	path := t.TempDir()
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("SKIPPED, a full disk is not tested: mounting a tmpfs needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	dir, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

// TestFullDisk: too large an offer is declined; a disk that fills up on the way
// ends the transfer on both sides with the same word, and nothing stays.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t)
	other := filepath.Join(dir.Path(), "other")
	for _, test := range []struct {
		name string
		size int
		kind error // there is something to wait for, or there is not
	}{
		{"more than is free", 900 << 10, ErrNoSpace},
		{"more than the disk has", 2 << 20, ErrStorage},
	} {
		if err := os.WriteFile(other, make([]byte, 512<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		src := sourceOf(t, writeFile(t, "f", content(test.size)))
		a, b := memPipe("")
		sent := send(t.Context(), a, src, SendOptions{})
		_, err := receive(t.Context(), b, dir, AcceptOptions{})
		wantKind(t, test.name+", the receiver", err, test.kind, Local)
		out := <-sent
		wantKind(t, test.name+", the sender", out.err, test.kind, Remote)
		if want := fmt.Sprintf("%d bytes needed", test.size); !strings.Contains(out.err.Error(), want) {
			t.Errorf("%s: the sender is told %q, want %q", test.name, out.err, want)
		}
		if dir.Room(int64(test.size), 0) {
			t.Errorf("%s: there is room", test.name)
		}
		if err := os.Remove(other); err != nil {
			t.Fatal(err)
		}
		wantEmpty(t, dir)
	}

	// 768 KiB fit when asked; then somebody else takes 512 KiB of the disk.
	src := sourceOf(t, writeFile(t, "f", content(3*blockSize)))
	a, b := memPipe("")
	sent := send(t.Context(), a, src, SendOptions{})
	gate := gated(b, blockSize+1000)
	in, err := ReadOffer(t.Context(), gate, ReceiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	accepted := accept(t, in, dir)
	<-gate.reached
	if err := os.WriteFile(other, bytes.Repeat([]byte{1}, 2*blockSize), 0o600); err != nil {
		t.Fatal(err)
	}
	close(gate.open)
	if dir.Room(2*blockSize, 0) {
		t.Error("there is room")
	}
	err = <-accepted
	wantKind(t, "receiver, in the body", err, ErrNoSpace, Local)
	var room *RoomError
	if !errors.As(err, &room) || room.Needed <= 0 || room.Free >= room.Needed || room.Total != 1<<20 {
		t.Errorf("what is missing is %+v", room)
	}
	wantKind(t, "sender, in the body", (<-sent).err, ErrNoSpace, Remote)
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	wantEmpty(t, dir)
	if !dir.Room(3*blockSize, 0) || dir.Room(3*blockSize, blockSize+1) {
		t.Error("what is free, or what is to be kept free, is not as it is")
	}

	// And it works again once there is room.
	a, b = memPipe("")
	sent = send(t.Context(), a, src, SendOptions{})
	if _, err := receive(t.Context(), b, dir, AcceptOptions{}); err != nil {
		t.Error(err)
	}
	if out := <-sent; out.err != nil {
		t.Error(out.err)
	}
}

// TestRoomIsPromisedOnce: files that are received at the same time cannot each be promised the same free space, and so take the
// reserve that is kept for others.
func TestRoomIsPromisedOnce(t *testing.T) {
	dir := smallDisk(t)
	const size = 600 << 10 // one fits into 1 MiB, two do not
	a, b := memPipe("")
	first := rawPeer{t, a}
	first.write(goodHeader(size))
	in, err := ReadOffer(t.Context(), b, ReceiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	accepted := accept(t, in, dir)
	if _, err := io.ReadFull(a, make([]byte, len("GO 0 0\n"))); err != nil { // the first has its room, and is in no hurry
		t.Fatal(err)
	}

	c, d := memPipe("")
	second := rawPeer{t, c}
	second.write(goodHeader(size))
	_, err = receive(t.Context(), d, dir, AcceptOptions{})
	wantKind(t, "second receiver", err, ErrNoSpace, Local)

	in.Cancel()
	wantKind(t, "first receiver", <-accepted, ErrCancelled, Local)
	e, f := memPipe("")
	sent := send(t.Context(), e, sourceOf(t, writeFile(t, "f", content(size))), SendOptions{})
	if _, err := receive(t.Context(), f, dir, AcceptOptions{}); err != nil {
		t.Errorf("third receiver, when the first has gone: %v", err)
	}
	if out := <-sent; out.err != nil {
		t.Error(out.err)
	}
}

// TestSendersDiskIsFull: what a sender remembers of a transfer only spares it work, and a full disk of its own keeps nothing from being sent.
func TestSendersDiskIsFull(t *testing.T) {
	small := smallDisk(t)
	journal, err := OpenJournal(filepath.Join(small.Path(), "journal"), [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	if err := os.WriteFile(filepath.Join(small.Path(), "other"), make([]byte, 2<<20), 0o600); !full(err) {
		t.Fatalf("filling the disk: %v", err)
	}
	want := content(big)
	a, b := memPipe("")
	sent := send(t.Context(), a, sourceOf(t, writeFile(t, "f", want)), SendOptions{Journal: journal})
	dir := openDir(t)
	if _, err := receive(t.Context(), b, dir, AcceptOptions{}); err != nil {
		t.Error(err)
	}
	if out := <-sent; out.err != nil {
		t.Error(out.err)
	}
}
