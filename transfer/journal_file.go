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
)

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
