package mux

import (
	"cmp"
	"slices"
	"time"

	"traverse.internal/core/framing"
)

// Stats is a copy of a session's counts. Bytes are of bodies unless said otherwise.
type Stats struct {
	// As they are now.
	LinkUp        bool
	Channels      int           // open, both sides'
	Opening       int           // requests of this side without an answer
	Pending       int           // requests of the peer neither accepted nor declined
	Queued        int           // bytes waiting for the writer
	Retained      int           // bytes of frames kept for the peer's ACK
	Files         int           // held for what is queued or kept, at most maxFiles
	Unread        int           // bytes received and not read
	ReceiveMemory int           // bytes of the buffers that hold those
	Credit        uint64        // bytes the peer lets the session send
	RoundTrip     time.Duration // of this link, the shortest that credit took; 0 while unknown
	Age           time.Duration // of the session

	// Since the session's start.
	BytesIn, BytesOut                 uint64 // each once, whatever was sent again
	FramesIn, FramesOut               uint64 // on data channels
	RequestFramesIn, RequestFramesOut uint64 // on channel 0
	ControlFramesIn, ControlFramesOut uint64 // on channel 0xffff, of those:
	AcksIn, AcksOut                   uint64
	ResetsIn, ResetsOut               uint64
	BeaconsOut                        uint64
	LinkWrites                        uint64 // calls of Write on links
	LinkBytesOut                      uint64 // in them, headers and all
	BytesResent                       uint64 // of those, sent again after a RESUME
	Duplicates                        uint64 // frames that came again and were dropped
	Dropped                           uint64 // frames for channels that had ended
	Unknown                           uint64 // messages of a later version
	StrayAnswers                      uint64 // answers that nobody waited for
	Opened, Accepted                  uint64 // channels
	Declined, DeclinedByPeer          uint64 // requests
	OpenTimeouts                      uint64
	LinksLost, Resumes                uint64
	FileSent, FileCopied              uint64        // of files: sent by the kernel, and through a buffer; those sent again too
	FilesChanged                      uint64        // channels reset because their file did
	Violations                        uint64        // 1 when the peer broke the protocol
	WriteStalls                       uint64        // times a Write waited for room
	WriteStallTime                    time.Duration // and how long
}

// Stats returns the counts.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	defer s.unlock()
	st := s.stats
	st.LinkUp = s.link != nil && s.err == nil
	st.Pending = s.pending
	st.Queued, st.Retained = s.queued, s.retained.bytes
	st.Unread, st.ReceiveMemory = int(s.in.received-s.in.consumed), s.rxMemory
	st.Credit = s.out.credit()
	st.RoundTrip = s.trip
	st.Files = int(s.files.Load())
	st.FileSent, st.FileCopied = s.fileSent.Load(), s.fileCopied.Load()
	st.Age = time.Since(s.created)
	for _, c := range s.channels {
		switch c.phase {
		case phaseOpen:
			st.Channels++
		case phaseOpening:
			st.Opening++
		}
	}
	return st
}

// ChannelInfo describes an open channel.
type ChannelInfo struct {
	ID       framing.ChannelID
	Name     string
	Inbound  bool // the peer opened it
	Opened   time.Time
	BytesIn  uint64
	BytesOut uint64
	Unread   int  // bytes received and not read
	Window   int  // how many may lie unread; grows with the path
	Queued   int  // bytes waiting for the writer
	EndIn    bool // the peer has closed its direction
	EndOut   bool // this side has
}

// Channels lists the open channels in the order of their numbers.
func (s *Session) Channels() []ChannelInfo {
	s.mu.Lock()
	defer s.unlock()
	list := make([]ChannelInfo, 0, len(s.channels))
	for _, c := range s.channels {
		if c.phase != phaseOpen {
			continue
		}
		list = append(list, ChannelInfo{
			ID: c.id, Name: c.name, Inbound: c.inbound, Opened: c.opened,
			BytesIn: c.bytesIn, BytesOut: c.bytesOut,
			Unread: int(c.in.received - c.in.consumed), Window: int(c.in.size), Queued: c.queued,
			EndIn: c.eofIn, EndOut: c.eofOut,
		})
	}
	slices.SortFunc(list, func(a, b ChannelInfo) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
