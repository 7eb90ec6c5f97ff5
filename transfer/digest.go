package transfer

import (
	"encoding/hex"
	"io"

	"github.com/cloudflare/circl/xof/k12"
)

// A Digest is the first 32 bytes of KangarooTwelve over a whole file.
type Digest [32]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

func (d *Digest) parse(s string) error {
	if len(s) != hex.EncodedLen(len(d)) {
		return protocolError("bad Digest")
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return protocolError("bad Digest")
	}
	return nil
}

func finish(h *k12.State) (d Digest) {
	h.Read(d[:]) // an XOF's Read never fails
	return d
}

// A blockHasher hashes the blocks of a ring as they come and gives them back.
type blockHasher struct {
	in   chan block
	free chan *[blockSize]byte
	sum  chan Digest
}

// block is n bytes of a buffer.
type block struct {
	buf *[blockSize]byte
	n   int
}

func startBlockHasher(free chan *[blockSize]byte) *blockHasher {
	h := &blockHasher{in: make(chan block, ringBlocks), free: free, sum: make(chan Digest, 1)}
	go h.hashLoop()
	return h
}

func (h *blockHasher) hashLoop() {
	state := k12.NewDraft10(nil)
	for b := range h.in {
		state.Write(b.buf[:b.n])
		h.free <- b.buf
	}
	h.sum <- finish(&state)
}

// end waits for the goroutine and returns the digest of all that was put in.
func (h *blockHasher) end() Digest {
	close(h.in)
	return <-h.sum
}

// A fileHasher hashes a file that is being sent, from the page cache, right behind
// the copy: the bytes that sendfile moves are never seen by the program.
type fileHasher struct {
	sent chan int64 // bytes sent so far, at most ringBlocks notes ahead
	out  chan fileSum
}

type fileSum struct {
	sum Digest
	err error
}

func startFileHasher(file io.ReaderAt) *fileHasher {
	h := &fileHasher{sent: make(chan int64, ringBlocks), out: make(chan fileSum, 1)}
	go h.hashLoop(file)
	return h
}

func (h *fileHasher) hashLoop(file io.ReaderAt) {
	buf := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(buf)
	state := k12.NewDraft10(nil)
	var at int64
	var failed error
	for upto := range h.sent {
		for at < upto && failed == nil {
			n, err := file.ReadAt(buf[:min(upto-at, blockSize)], at)
			state.Write(buf[:n])
			at += int64(n)
			if n == 0 {
				failed = err
			}
		}
	}
	h.out <- fileSum{finish(&state), failed}
}

// end waits for the goroutine.
func (h *fileHasher) end() (Digest, error) {
	close(h.sent)
	r := <-h.out
	return r.sum, r.err
}
