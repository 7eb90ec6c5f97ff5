package transfer

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
)

// A Journal remembers, for one transfer on one side, which chunks are verified and what their digests are. It is a file to which a record
// is appended for each chunk, without a sync: what was written survives the death of the process. The records of small chunks, those of
// one block of the stream, are written together. It does not survive a power cut for
// certain, nor do the chunks themselves; so a journal of an earlier boot is believed up to its last [Journal.synced] record only, and what
// is behind it is compared with the disk before it counts. Records have checksums: the first bad one is the end.
//
// Beside the journal lies the list of entries it is about, under the same name with ".list". Safe for concurrent use by one transfer and
// those who look.
type Journal struct {
	path  string // "" in memory
	owner [32]byte

	mu      sync.Mutex // guards the fields below
	file    *os.File
	m       *manifest // nil before the first offer
	have    bitmap
	count   uint32 // bits in have
	sums    []Digest
	doubt   bitmap // in have, but from before a power cut
	publish map[uint32]publication
	again   int64  // bytes that came and were of no use, in earlier runs
	failed  error  // the first write that failed
	pending []byte // records that are not in the file yet
}

// publication is what is noted before a root gets its name: which inode, and the number of the name that is tried.
type publication struct {
	inode uint64
	twin  uint32
}

// ErrOwner is what [OpenJournal] says of a journal of somebody else's transfer.
var ErrOwner = errors.New("transfer: the journal belongs to another device's transfer")

// OpenJournal opens the journal at path, or begins it, for a transfer with owner.
func OpenJournal(path string, owner [32]byte) (*Journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	j := &Journal{path: path, owner: owner, file: file}
	if err := j.load(); err != nil {
		file.Close()
		return nil, err
	}
	return j, nil
}

// newJournal is one in memory.
func newJournal() *Journal { return new(Journal) }

// fits tells whether all numbers are of the list.
func (j *Journal) fits(m *manifest) bool { return len(j.sums) <= int(m.chunks()) }

func (j *Journal) setLocked(n uint32, sum Digest) {
	if n >= maxChunks+MaxEntries {
		return
	}
	if !j.have.has(n) {
		j.have.set(n)
		j.count++
	}
	for int(n) >= len(j.sums) {
		j.sums = append(j.sums, Digest{})
	}
	j.sums[n] = sum
}

func (j *Journal) forgetLocked() {
	j.have, j.doubt, j.sums, j.count = nil, nil, nil, 0
}

func (j *Journal) published(entry uint32, p publication) {
	if j.publish == nil {
		j.publish = map[uint32]publication{}
	}
	j.publish[entry] = p
}

// add notes a chunk that is verified and written.
func (j *Journal) add(n uint32, sum Digest) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.setLocked(n, sum)
	j.append(recChunk, n, sum)
}

// drop takes back a chunk that is not on the disk after all.
func (j *Journal) drop(n uint32) {
	if j.have.has(n) {
		j.have.clear(n)
		j.count--
	}
}

// forget takes all of them back.
func (j *Journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.forgetLocked()
	j.append(recForget, 0, [32]byte{})
	if j.file != nil {
		_ = j.flushLocked()
	}
}

// synced notes that all chunks noted so far are on the disk.
func (j *Journal) synced() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	j.append(recSynced, 0, [32]byte{})
	return errors.Join(j.flushLocked(), j.file.Sync())
}

// wasted adds to the bytes that came and were of no use, and returns the sum.
func (j *Journal) wasted(n int64) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if n > 0 {
		j.again += n
		var payload [32]byte
		binary.BigEndian.PutUint64(payload[:], uint64(j.again))
		j.append(recAgain, 0, payload)
	}
	return j.again
}

// naming notes that entry is about to get its name.
func (j *Journal) naming(entry uint32, p publication) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.published(entry, p)
	var payload [32]byte
	binary.BigEndian.PutUint64(payload[:], p.inode)
	binary.BigEndian.PutUint32(payload[8:], p.twin)
	j.append(recPublish, entry, payload)
	if j.file == nil {
		return nil
	}
	return j.flushLocked()
}

// adopt makes m what the journal is about. Chunks of files that are the same version in the list before stay; gone has the paths of the
// files that do not.
func (j *Journal) adopt(m *manifest) (gone []string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	old := j.m
	if old != nil && old.chunkLen == m.chunkLen && string(old.raw) == string(m.raw) {
		j.m = m
		return nil, nil
	}
	have, sums, doubt := j.have, j.sums, j.doubt
	j.forgetLocked()
	j.m = m
	if old != nil {
		gone = j.carryLocked(old, have, sums, doubt)
	}
	return gone, j.rewriteLocked()
}

// carryLocked numbers the chunks of files that stayed anew.
func (j *Journal) carryLocked(old *manifest, have bitmap, sums []Digest, doubt bitmap) (gone []string) {
	now := make(map[string]int, len(j.m.entries))
	for i := range j.m.entries {
		now[j.m.entries[i].Path] = i
	}
	for i := range old.entries {
		e := &old.entries[i]
		k, ok := now[e.Path]
		if !ok || old.chunkLen != j.m.chunkLen || e.Kind == File && !sameFile(e, &j.m.entries[k]) || e.Kind != j.m.entries[k].Kind {
			gone = append(gone, e.Path)
			continue
		}
		for n := range old.of(i) {
			if from := old.first[i] + n; have.has(from) {
				j.setLocked(j.m.first[k]+n, sums[from])
				if doubt.has(from) {
					j.doubt.set(j.m.first[k] + n)
				}
			}
		}
	}
	return gone
}

// Again returns how many bytes have come, in earlier runs, that had to come once more.
func (j *Journal) Again() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.again
}

// Bytes returns how much is verified.
func (j *Journal) Bytes() (n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.m == nil {
		return 0
	}
	for i := range j.m.entries {
		for c := j.m.first[i]; c < j.m.first[i+1]; c++ {
			if j.have.has(c) {
				_, length := j.m.span(i, c)
				n += length
			}
		}
	}
	return n
}

// Entries returns what the transfer is about, nil before that is known. The caller does not change it.
func (j *Journal) Entries() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.m == nil {
		return nil
	}
	return j.m.entries
}

// Close closes the file.
func (j *Journal) Close() error {
	if j.file == nil {
		return nil
	}
	j.flush()
	return j.file.Close()
}

// knows tells whether the digest of chunk n is remembered.
func (j *Journal) knows(n uint32) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.have.has(n) && !j.doubt.has(n)
}
