package mux

import (
	"io"
	"os"
	"sync/atomic"

	"traverse.internal/core/bufpool"
)

const (
	// maxFiles is how many descriptors of files a session may hold for what is queued or kept; bytes of more are copied.
	maxFiles = 64

	// fileQueue is how many bytes of a file a channel may have queued, as references. They take no memory.
	fileQueue = 1 << 20
)

// fileSender is a link that can send bytes of a file behind a head as one Write of both would. A *zerocopy.FileError is
// the file's fault. A tls.Link is one, where the kernel seals.
type fileSender interface {
	SendsFiles() bool
	SendFile(head []byte, file *os.File, offset int64, n int) (int, error)
}

// sharedFile is a file of which bytes are queued or kept for the peer. The descriptor is its own, closed with the last
// hold.
type sharedFile struct {
	file  *os.File
	info  os.FileInfo
	refs  atomic.Int32
	count *atomic.Int32 // of the session's
	lost  atomic.Bool   // what it was cannot be had any more
}

// share opens the file for the session, and returns nil when the session has enough or it cannot be.
func (s *Session) share(file *os.File, info os.FileInfo) *sharedFile {
	if s.files.Add(1) > maxFiles {
		s.files.Add(-1)
		return nil
	}
	own, err := reopen(file)
	if err != nil {
		s.files.Add(-1)
		return nil
	}
	f := &sharedFile{file: own, info: info, count: &s.files}
	f.refs.Store(1)
	return f
}

func (f *sharedFile) retain() *sharedFile {
	f.refs.Add(1)
	return f
}

// release ends a hold; nil has none. Closing a file that was only read does not block.
func (f *sharedFile) release() {
	if f != nil && f.refs.Add(-1) == 0 {
		_ = f.file.Close()
		f.count.Add(-1)
	}
}

// changed tells whether the file is not what it was any more. Once it is, it stays so.
func (f *sharedFile) changed() bool {
	if f.lost.Load() {
		return true
	}
	info, err := f.file.Stat()
	if err != nil || !f.same(info) {
		f.lost.Store(true)
	}
	return f.lost.Load()
}

// same tells whether that is the file, as it is.
func (f *sharedFile) same(info os.FileInfo) bool {
	return info.Size() == f.info.Size() && info.ModTime().Equal(f.info.ModTime()) && os.SameFile(info, f.info)
}

// share returns the file for the session. Runs of one file after the other share a descriptor: the channel holds the
// last, until it ends or has another.
func (c *Channel) share(file *os.File, info os.FileInfo) *sharedFile {
	s := c.s
	s.mu.Lock()
	if f := c.lastFile; f != nil && !f.lost.Load() && f.same(info) {
		f.retain()
		s.unlock()
		return f
	}
	s.unlock()
	f := s.share(file, info)
	if f == nil {
		return nil
	}
	s.mu.Lock()
	defer s.unlock()
	if !c.outDropped && !c.eofOut && s.err == nil {
		c.lastFile.release()
		c.lastFile = f.retain()
	}
	return f
}

// forgetFileLocked lets go of the last file: no more of it is to come.
func (c *Channel) forgetFileLocked() {
	c.lastFile.release()
	c.lastFile = nil
}

// fileFrame is a frame whose body is n bytes of a file.
type fileFrame struct {
	file    *sharedFile // one hold is the extent's
	offset  int64
	n       int
	head    [8]byte
	headLen int
	c       *Channel
}

func (f *fileFrame) len() int { return f.headLen + f.n }

// ReadFrom writes what r has until its end, as io.Copy would. Of a regular *os.File, or an io.LimitedReader of one, long
// runs are queued as references: they are read when they are sent, by the kernel where the link can, and again when they
// have to be sent again. So the file must stay what it is until the peer has acknowledged them; one whose size or time of
// modification changes before resets the channel with framing.CodeFileChanged, and what its peer has read of it by then
// may be anything. The file may be closed when ReadFrom has returned.
func (c *Channel) ReadFrom(r io.Reader) (int64, error) {
	done, err := c.readFile(r)
	if err != nil {
		return done, err
	}
	buf := bufpool.Get(maxBatch)
	defer buf.Release()
	for {
		n, readErr := r.Read(buf.Bytes())
		wrote, err := c.Write(buf.Bytes()[:n])
		done += int64(wrote)
		switch {
		case err != nil:
			return done, err
		case readErr == io.EOF:
			return done, nil
		case readErr != nil:
			return done, readErr
		}
	}
}

// readFile queues what is worth it of a file.
func (c *Channel) readFile(r io.Reader) (done int64, err error) {
	limit := int64(-1)
	limited, ok := r.(*io.LimitedReader)
	if ok {
		limit, r = limited.N, limited.R
	}
	file, ok := r.(*os.File)
	if !ok || limited != nil && limit < directBody {
		return 0, nil
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, nil // reading it says why
	}
	at, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, nil
	}
	length := info.Size() - at
	if limited != nil {
		length = min(length, limit)
	}
	if length < directBody {
		return 0, nil
	}
	shared := c.share(file, info)
	if shared == nil {
		return 0, nil
	}
	defer shared.release()
	done, err = c.queueFile(shared, at, length)
	if limited != nil {
		limited.N -= done
	}
	if _, seekErr := file.Seek(at+done, io.SeekStart); err == nil {
		err = seekErr
	}
	return done, err
}

// queueFile queues length bytes of the file, but for a short rest.
func (c *Channel) queueFile(f *sharedFile, at, length int64) (done int64, err error) {
	return c.queue(length, directBody, func(done int64) (int, error) { return c.putFile(f, at+done, length-done) })
}

// putFile queues what is allowed of a file, a frame at most. It is put for files.
func (c *Channel) putFile(f *sharedFile, at, length int64) (int, error) {
	s := c.s
	s.mu.Lock()
	defer s.unlock()
	if c.writeErr != nil {
		return 0, c.writeErr
	}
	want := int(min(length, int64(s.limits.body)))
	c.byFile = true
	n := c.allowedLocked(want)
	if n == 0 {
		c.waitLocked(want)
		return 0, nil
	}
	c.countLocked(n)
	if c.outQueue.len() > 0 {
		last := c.outQueue.back()
		if last.file == f && last.offset+int64(last.n) == at {
			last.n += n
			c.enterLocked()
			return n, nil
		}
	}
	c.outQueue.push(outChunk{file: f.retain(), offset: at, n: n})
	c.enterLocked()
	return n, nil
}

// takeFileLocked makes a frame of the channel's first chunk, which is of a file.
func (s *Session) takeFileLocked(c *Channel) batch {
	chunk := c.outQueue.front()
	f := &fileFrame{
		file: chunk.file.retain(), offset: chunk.offset + int64(chunk.taken), n: min(chunk.n-chunk.taken, s.limits.body, s.link.most()), c: c,
	}
	f.headLen = copy(f.head[:], s.frameHeader(f.n, c.id))
	chunk.taken += f.n
	if chunk.taken == chunk.n {
		c.outQueue.pop().release()
	}
	s.retained.addFile(f)
	s.sentLocked(c, f.n)
	return batch{frame: f, file: f.file.retain()}
}
