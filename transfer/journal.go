package transfer

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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

// A record is kind, 3 zero bytes, number, 32 bytes, 4 zero bytes, CRC-32C of what is before: 48 bytes.
const (
	recordLen = 48

	recOwner   = 'O' // payload: whose transfer; the first record
	recList    = 'L' // number: log2 of the chunk length; payload: digest of the list
	recBoot    = 'B' // payload: the boot in which the records behind it were written
	recChunk   = 'C' // number, digest
	recSynced  = 'S' // everything before is on the disk
	recPublish = 'P' // number: entry; payload: inode, number of the name
	recAgain   = 'A' // payload: bytes
	recForget  = 'F' // all chunks are to come again
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

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

// load reads what is there and cuts off what is not whole.
func (j *Journal) load() error {
	raw, err := io.ReadAll(j.file)
	if err != nil {
		return err
	}
	boot, good := thisBoot(), int64(0)
	var list Digest
	var chunkLen int64
	for old := false; len(raw) >= recordLen; raw = raw[recordLen:] {
		r := raw[:recordLen]
		if crc32.Checksum(r[:recordLen-4], castagnoli) != binary.BigEndian.Uint32(r[recordLen-4:]) {
			break
		}
		number, payload := binary.BigEndian.Uint32(r[4:]), [32]byte(r[8:40])
		switch r[0] {
		case recOwner:
			if payload != j.owner {
				return ErrOwner
			}
		case recList:
			list, chunkLen = payload, 1<<min(number, 40)
		case recBoot:
			old = payload != boot
		case recChunk:
			j.setLocked(number, payload)
			if old {
				j.doubt.set(number)
			}
		case recSynced:
			clear(j.doubt)
		case recForget:
			j.forgetLocked()
		case recPublish:
			j.published(number, publication{binary.BigEndian.Uint64(payload[:]), binary.BigEndian.Uint32(payload[8:])})
		case recAgain:
			j.again = int64(binary.BigEndian.Uint64(payload[:]))
		}
		good += recordLen
	}
	if good == 0 {
		j.forgetLocked()
	}
	if err := j.file.Truncate(good); err != nil {
		return err
	}
	if _, err := j.file.Seek(good, io.SeekStart); err != nil {
		return err
	}
	if good == 0 {
		j.append(recOwner, 0, j.owner)
	} else {
		j.loadList(list, chunkLen)
	}
	j.append(recBoot, 0, boot)
	return j.flushLocked()
}

// loadList reads the list that the chunks are of. Without it they are of no use.
func (j *Journal) loadList(sum Digest, chunkLen int64) {
	raw, err := os.ReadFile(j.path + listSuffix)
	if err == nil && plain(raw) == sum {
		if m, err := parseManifest(raw, countEntries(raw), chunkLen); err == nil && j.fits(m) {
			j.m = m
			return
		}
	}
	j.forgetLocked()
}

const listSuffix = ".list"

// fits tells whether all numbers are of the list.
func (j *Journal) fits(m *manifest) bool { return len(j.sums) <= int(m.chunks()) }

// countEntries is for a list of our own, which is not told how many it has.
func countEntries(raw []byte) int {
	n := 0
	for rest := raw; len(rest) > 0 && n <= MaxEntries; n++ {
		var err error
		if _, rest, err = parseEntry(rest); err != nil {
			return 0
		}
	}
	return n
}

// maxPending bounds the records that wait to be written: those of 1,365 chunks, which is what a block of tiny files can bring and more.
const maxPending = 64 << 10

// append enters a record, which flushLocked writes. What cannot be written is only forgotten: the chunk will come again.
func (j *Journal) append(kind byte, number uint32, payload [32]byte) {
	if j.file == nil {
		return
	}
	var r [recordLen]byte
	r[0] = kind
	binary.BigEndian.PutUint32(r[4:], number)
	copy(r[8:], payload[:])
	binary.BigEndian.PutUint32(r[recordLen-4:], crc32.Checksum(r[:recordLen-4], castagnoli))
	if j.pending = append(j.pending, r[:]...); len(j.pending) >= maxPending {
		j.flushLocked()
	}
}

// flushLocked writes the records that wait, and returns the first error of any write.
func (j *Journal) flushLocked() error {
	if len(j.pending) > 0 && j.failed == nil {
		_, j.failed = j.file.Write(j.pending)
	}
	j.pending = j.pending[:0]
	return j.failed
}

// flush is for the end of a block.
func (j *Journal) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file != nil {
		_ = j.flushLocked()
	}
}

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

// rewriteLocked replaces list and journal. A crash in between leaves a journal without its list, which is an empty one.
func (j *Journal) rewriteLocked() error {
	if j.file == nil {
		return nil
	}
	if err := replaceFile(j.path+listSuffix, j.m.raw); err != nil {
		return err
	}
	if err := j.file.Truncate(0); err != nil {
		return err
	}
	if _, err := j.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	j.failed, j.publish, j.pending = nil, nil, nil
	j.append(recOwner, 0, j.owner)
	log := uint32(0)
	for 1<<log < j.m.chunkLen {
		log++
	}
	j.append(recList, log, plain(j.m.raw))
	// What is in doubt goes behind the record of no boot.
	j.append(recBoot, 0, thisBoot())
	for n := range uint32(len(j.sums)) {
		if j.have.has(n) && !j.doubt.has(n) {
			j.append(recChunk, n, j.sums[n])
		}
	}
	j.append(recBoot, 0, [32]byte{})
	for n := range uint32(len(j.sums)) {
		if j.have.has(n) && j.doubt.has(n) {
			j.append(recChunk, n, j.sums[n])
		}
	}
	if j.again > 0 {
		var payload [32]byte
		binary.BigEndian.PutUint64(payload[:], uint64(j.again))
		j.append(recAgain, 0, payload)
	}
	j.append(recBoot, 0, thisBoot())
	return j.flushLocked()
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

// RemoveJournal removes what OpenJournal made at path.
func RemoveJournal(path string) error {
	var errs []error
	for _, p := range []string{path, path + listSuffix} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// thisBoot tells one run of the machine from another; where that is not known, all are different.
func thisBoot() (id [32]byte) {
	if raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		copy(id[:], raw)
		return id
	}
	_, _ = rand.Read(id[:]) // never fails since Go 1.24
	return id
}

// knows tells whether the digest of chunk n is remembered.
func (j *Journal) knows(n uint32) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.have.has(n) && !j.doubt.has(n)
}
