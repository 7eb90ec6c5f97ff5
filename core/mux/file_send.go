package mux

import (
	"errors"
	"io"

	"traverse.internal/core/bufpool"
	"traverse.internal/core/framing"
	"traverse.internal/core/zerocopy"
)

// writeFile writes a frame whose body is in a file: the kernel does where the link can, else through a buffer. The frame
// has been counted and has to go out with its length, whatever has become of the file.
func (l *link) writeFile(f *fileFrame) error {
	sent := 0
	if !f.file.changed() {
		var err error
		if sender, ok := l.rwc.(fileSender); ok && sender.SendsFiles() {
			sent, err = sender.SendFile(f.head[:f.headLen], f.file.file, f.offset, f.n)
			l.s.fileSent.Add(uint64(max(0, sent-f.headLen)))
		} else {
			sent, err = l.copyFile(f)
			l.s.fileCopied.Add(uint64(max(0, sent-f.headLen)))
		}
		var fault *zerocopy.FileError
		if err == nil || !errors.As(err, &fault) {
			return err
		}
		f.file.lost.Store(true)
	}
	l.s.fileLost(f.c)
	return l.fillFrame(f, sent)
}

// copyFile writes the frame through a buffer, and nothing of it when the file has not got its bytes.
func (l *link) copyFile(f *fileFrame) (int, error) {
	buf := bufpool.Get(f.n)
	defer buf.Release()
	if _, err := io.ReadFull(io.NewSectionReader(f.file.file, f.offset, int64(f.n)), buf.Bytes()); err != nil {
		return 0, &zerocopy.FileError{Err: err}
	}
	copy(buf.Prepend(f.headLen), f.head[:f.headLen])
	return l.writeAll(buf.Bytes())
}

// fillFrame writes what is missing of a frame, as zeros.
func (l *link) fillFrame(f *fileFrame, sent int) error {
	buf := bufpool.Get(f.len())
	defer buf.Release()
	b := buf.Bytes()
	clear(b)
	copy(b, f.head[:f.headLen])
	_, err := l.writeAll(b[sent:])
	return err
}

func (l *link) writeAll(b []byte) (int, error) {
	n, err := l.rwc.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return n, err
}

// fileLost resets the channel of a file that is not what it was. (One that has ended here has frames under way all the
// same: its peer is told too.)
func (s *Session) fileLost(c *Channel) {
	s.mu.Lock()
	defer s.unlock()
	if s.err != nil || c.lostFile {
		return
	}
	switch {
	case c.phase == phaseOpen:
		s.lostFileLocked(c)
	case c.phase == phaseEnded && s.channels[c.id] == nil:
		c.lostFile = true
		s.stats.FilesChanged++
		s.resetFrameLocked(resetFrame{Reset: framing.Reset{Channel: c.id, Code: framing.CodeFileChanged, Reason: fileChanged}})
	}
}

// lostFileLocked resets an open channel.
func (s *Session) lostFileLocked(c *Channel) {
	c.lostFile = true
	s.stats.FilesChanged++
	s.resetLocked(c, framing.CodeFileChanged, fileChanged)
}

const fileChanged = "the file changed while it was sent"

// lostFilesLocked returns the RESETs that go in front of what is sent again: of channels whose kept bytes from pos on
// cannot be had any more (docs/protocol/mux.md 7.3).
func (s *Session) lostFilesLocked(pos uint64) []framing.Reset {
	for i := range s.retained.extents.len() {
		if e := s.retained.extents.at(i); e.frame != nil {
			e.frame.c.toldEarly = false
		}
	}
	var resets []framing.Reset
	for i := range s.retained.extents.len() {
		e := s.retained.extents.at(i)
		if e.frame == nil || e.end() <= pos || !e.frame.file.changed() {
			continue
		}
		c := e.frame.c
		if c.phase == phaseOpen {
			s.lostFileLocked(c)
		}
		if c.toldEarly {
			continue
		}
		c.toldEarly = true
		resets = append(resets, framing.Reset{Channel: c.id, Code: framing.CodeFileChanged, Reason: fileChanged})
	}
	return resets
}
