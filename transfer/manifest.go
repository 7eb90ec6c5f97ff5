package transfer

import (
	"encoding/binary"
	"io/fs"
	"path"
	"strings"
)

// Limits of what one offer may name.
const (
	// MaxEntries bounds the files, folders and links of one offer.
	MaxEntries = 1 << 17

	// MaxManifest bounds the list of them on the wire: 2^17 entries of some 120
	// bytes each.
	MaxManifest = 16 << 20

	maxPath  = 4096 // bytes of one path, as PATH_MAX
	maxDepth = 64   // elements of one path

	// minChunk and maxChunk bound a chunk; a power of two in between. ChunkLen is
	// what a sender takes until an offer has more than maxChunks of them, so that the
	// list of hashes stays below 32 · 2^20 = 32 MiB.
	minChunk  = 64 << 10
	ChunkLen  = 1 << 20
	maxChunk  = 64 << 20
	maxChunks = 1 << 20
)

// Kind is what an entry is.
type Kind uint8

// The kinds, with their bytes on the wire.
const (
	File   Kind = 1
	Folder Kind = 2
	Link   Kind = 3 // symbolic
)

// An Entry is one file, folder or symbolic link of an offer.
type Entry struct {
	Kind   Kind
	Path   string      // slash-separated, from its root's name; every element checked as a name
	Mode   fs.FileMode // permission bits
	Mod    int64       // modification time, Unix nanoseconds
	Size   int64       // of a file
	Target string      // of a link
}

// A manifest is all that is offered, in the order in which it is sent.
type manifest struct {
	entries  []Entry
	chunkLen int64
	raw      []byte
	first    []uint32 // number of each entry's first chunk; one more than entries: the last is how many there are
	size     int64
	roots    []int // entries with a path of one element
}

// newManifest checks entries and numbers their chunks.
func newManifest(entries []Entry, chunkLen int64) (*manifest, error) {
	m := &manifest{entries: entries, chunkLen: chunkLen}
	for _, e := range entries {
		m.raw = appendEntry(m.raw, e)
	}
	return m, m.index()
}

// parseManifest reads a list of count entries.
func parseManifest(raw []byte, count int, chunkLen int64) (*manifest, error) {
	// The shortest entry has 22 bytes, so the count is bounded by what has come.
	if count < 1 || count > MaxEntries || count > len(raw)/22+1 {
		return nil, protocolError("%d entries in %d bytes", count, len(raw))
	}
	m := &manifest{entries: make([]Entry, count), chunkLen: chunkLen, raw: raw}
	rest, err := raw, error(nil)
	for i := range m.entries {
		if m.entries[i], rest, err = parseEntry(rest); err != nil {
			return nil, err
		}
	}
	if len(rest) > 0 {
		return nil, protocolError("%d bytes after the last entry", len(rest))
	}
	return m, m.index()
}

// appendEntry: kind, mode (2 bytes), time (8), size (8), length of the path (2), the path; of a link the target, size bytes long.
func appendEntry(dst []byte, e Entry) []byte {
	size := e.Size
	if e.Kind == Link {
		size = int64(len(e.Target))
	}
	dst = append(dst, byte(e.Kind))
	dst = binary.BigEndian.AppendUint16(dst, uint16(e.Mode.Perm()))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Mod))
	dst = binary.BigEndian.AppendUint64(dst, uint64(size))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(e.Path)))
	dst = append(dst, e.Path...)
	return append(dst, e.Target...)
}

func parseEntry(b []byte) (e Entry, rest []byte, err error) {
	if len(b) < 21 {
		return e, nil, protocolError("the list of entries ends early")
	}
	size, length := binary.BigEndian.Uint64(b[11:]), int(binary.BigEndian.Uint16(b[19:]))
	e = Entry{
		Kind: Kind(b[0]), Mode: fs.FileMode(binary.BigEndian.Uint16(b[1:])),
		Mod: int64(binary.BigEndian.Uint64(b[3:])),
	}
	b = b[21:]
	if length > len(b) {
		return e, nil, protocolError("the list of entries ends early")
	}
	e.Path, b = string(b[:length]), b[length:]
	switch {
	case e.Mode&^fs.ModePerm != 0:
		return e, nil, protocolError("mode %#o", uint32(e.Mode))
	case e.Kind == File && size <= maxSize:
		e.Size = int64(size)
	case e.Kind == Folder && size == 0:
	case e.Kind == Link && 0 < size && size <= maxPath:
		if uint64(len(b)) < size {
			return e, nil, protocolError("the list of entries ends early")
		}
		e.Target, b = string(b[:size]), b[size:]
	default:
		return e, nil, protocolError("entry of kind %d with size %d", e.Kind, size)
	}
	return e, b, nil
}

// index checks the entries against each other and numbers the chunks.
func (m *manifest) index() error {
	switch {
	case m.chunkLen < minChunk || m.chunkLen > maxChunk || m.chunkLen&(m.chunkLen-1) != 0:
		return protocolError("chunks of %d bytes", m.chunkLen)
	case len(m.entries) == 0 || len(m.entries) > MaxEntries:
		return protocolError("%d entries", len(m.entries))
	case len(m.raw) > MaxManifest:
		return protocolError("a list of %d bytes", len(m.raw))
	}
	seen := make(map[string]Kind, len(m.entries))
	m.first = make([]uint32, 0, len(m.entries)+1)
	chunks := int64(0)
	for i := range m.entries {
		e := &m.entries[i]
		if err := checkPath(e, seen); err != nil {
			return err
		}
		seen[e.Path] = e.Kind
		if !strings.Contains(e.Path, "/") {
			m.roots = append(m.roots, i)
		}
		m.first = append(m.first, uint32(chunks))
		m.size += e.Size
		chunks += (e.Size + m.chunkLen - 1) / m.chunkLen
		if m.size > maxSize || chunks > maxChunks+MaxEntries {
			return protocolError("%d bytes in chunks of %d", m.size, m.chunkLen)
		}
	}
	m.first = append(m.first, uint32(chunks))
	return nil
}

// checkPath: each element is a name, the folder came before, nothing comes twice.
func checkPath(e *Entry, seen map[string]Kind) error {
	if len(e.Path) > maxPath || strings.Count(e.Path, "/") >= maxDepth {
		return &Error{Kind: ErrName, By: Local, Detail: "a path too long"}
	}
	for name := range strings.SplitSeq(e.Path, "/") {
		if err := checkName(name); err != nil {
			return err
		}
	}
	if _, twice := seen[e.Path]; twice {
		return protocolError("two entries of the same path")
	}
	dir, _ := path.Split(e.Path)
	if dir != "" && seen[strings.TrimSuffix(dir, "/")] != Folder {
		return protocolError("an entry before its folder")
	}
	if e.Kind == Link && !staysInside(e.Path, e.Target) {
		return &Error{Kind: ErrName, By: Local, Detail: "a link that leads out"}
	}
	return nil
}

// staysInside reports whether a link at path leads to somewhere below path's root.
func staysInside(at, target string) bool {
	if target == "" || path.IsAbs(target) || strings.ContainsRune(target, 0) {
		return false
	}
	root, _, _ := strings.Cut(at, "/")
	to := path.Join(path.Dir(at), target)
	return to == root || strings.HasPrefix(to, root+"/")
}

// chunks is how many chunks there are.
func (m *manifest) chunks() uint32 { return m.first[len(m.entries)] }

// of returns how many chunks entry i has.
func (m *manifest) of(i int) uint32 { return m.first[i+1] - m.first[i] }

// span returns where chunk n of entry i lies in its file.
func (m *manifest) span(i int, n uint32) (at, length int64) {
	at = int64(n-m.first[i]) * m.chunkLen
	return at, min(m.chunkLen, m.entries[i].Size-at)
}

// files counts the entries that are files.
func (m *manifest) files() (n int) {
	for i := range m.entries {
		if m.entries[i].Kind == File {
			n++
		}
	}
	return n
}

// single tells whether the offer is one file and nothing else.
func (m *manifest) single() bool { return len(m.entries) == 1 && m.entries[0].Kind == File }

// sameFile tells whether two entries are the same version of the same file.
func sameFile(a, b *Entry) bool {
	return a.Kind == File && b.Kind == File && a.Path == b.Path && a.Size == b.Size && a.Mod == b.Mod
}

// chunkLenFor is the chunk a sender takes for so many bytes.
func chunkLenFor(size int64) int64 {
	n := int64(ChunkLen)
	for size/n >= maxChunks && n < maxChunk {
		n *= 2
	}
	return n
}
