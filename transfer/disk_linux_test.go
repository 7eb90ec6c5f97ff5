package transfer

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
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
	src := sourceOf(t, writeFile(t, "f", content(2<<20)))

	a, b := memPipe("")
	sent := send(t.Context(), a, src, SendOptions{})
	_, err := receive(t.Context(), b, dir, AcceptOptions{})
	wantKind(t, "receiver, asked", err, ErrNoSpace, Local)
	wantKind(t, "sender, asking", (<-sent).err, ErrNoSpace, Remote)
	wantEmpty(t, dir)

	// 768 KiB fit when asked; then somebody else takes 512 KiB of the disk.
	src = sourceOf(t, writeFile(t, "f", content(3*blockSize)))
	a, b = memPipe("")
	sent = send(t.Context(), a, src, SendOptions{})
	gate := gated(b, blockSize+1000)
	in, err := ReadOffer(t.Context(), gate, ReceiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	accepted := accept(t, in, dir)
	<-gate.reached
	other := filepath.Join(dir.Path(), "other")
	if err := os.WriteFile(other, bytes.Repeat([]byte{1}, 2*blockSize), 0o600); err != nil {
		t.Fatal(err)
	}
	close(gate.open)
	wantKind(t, "receiver, in the body", <-accepted, ErrNoSpace, Local)
	wantKind(t, "sender, in the body", (<-sent).err, ErrNoSpace, Remote)
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	wantEmpty(t, dir)

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
