package transferdecode

import (
	"encoding/binary"
	"path"
	"strings"
)

// Entry is one of section 3's.
type Entry struct {
	Kind   byte
	Mode   uint16
	Mod    int64
	Size   int64
	Path   string
	Target string
}

// ReadList reads count entries that are all of b.
func ReadList(b []byte, count int64) (list []Entry, wrong string) {
	kinds := map[string]byte{}
	for len(b) > 0 {
		if len(b) < 21 {
			return nil, Protocol
		}
		e := Entry{Kind: b[0], Mode: binary.BigEndian.Uint16(b[1:]), Mod: int64(binary.BigEndian.Uint64(b[3:]))}
		size, length := binary.BigEndian.Uint64(b[11:]), int(binary.BigEndian.Uint16(b[19:]))
		b = b[21:]
		if length > len(b) || e.Mode > 0o777 {
			return nil, Protocol
		}
		e.Path, b = string(b[:length]), b[length:]
		switch {
		case e.Kind == 1 && size <= 1<<62:
			e.Size = int64(size)
		case e.Kind == 2 && size == 0:
		case e.Kind == 3 && size >= 1 && size <= 4096 && size <= uint64(len(b)):
			e.Target, b = string(b[:size]), b[size:]
		default:
			return nil, Protocol
		}
		list = append(list, e)
	}
	if int64(len(list)) != count || count < 1 || count > 131072 {
		return nil, Protocol
	}
	for _, e := range list {
		if wrong := e.check(kinds); wrong != "" {
			return nil, wrong
		}
		kinds[e.Path] = e.Kind
	}
	return list, ""
}

// check holds an entry against those before it.
func (e Entry) check(before map[string]byte) (wrong string) {
	names := strings.Split(e.Path, "/")
	if len(e.Path) > 4096 || len(names) > 64 {
		return Name
	}
	for _, n := range names {
		if wrong := CheckName(n); wrong != "" {
			return wrong
		}
	}
	if _, twice := before[e.Path]; twice {
		return Protocol
	}
	if len(names) > 1 && before[strings.Join(names[:len(names)-1], "/")] != 2 {
		return Protocol
	}
	if e.Kind == 3 {
		to := path.Join(path.Dir(e.Path), e.Target)
		if strings.HasPrefix(e.Target, "/") || strings.Contains(e.Target, "\x00") || to != names[0] && !strings.HasPrefix(to, names[0]+"/") {
			return Name
		}
	}
	return ""
}

// Chunks returns the lengths of all chunks.
func Chunks(list []Entry, chunk int64) (lengths []int64) {
	for _, e := range list {
		for left := e.Size; left > 0; left -= chunk {
			lengths = append(lengths, min(left, chunk))
		}
	}
	return lengths
}

// ReadMap reads section 4's map: which of count chunks are present.
func ReadMap(b []byte, count int) (present []bool, wrong string) {
	present = make([]bool, count)
	at, is := 0, false
	for first := true; len(b) > 0; first = false {
		run, shift, n := uint64(0), 0, 0
		for n < len(b) && b[n]&0x80 != 0 {
			run |= uint64(b[n]&0x7f) << shift
			if shift, n = shift+7, n+1; n > 9 {
				return nil, Protocol
			}
		}
		if n == len(b) || n > 0 && b[n] == 0 || n == 9 && b[n] > 1 {
			return nil, Protocol // cut, or not the shortest form
		}
		run |= uint64(b[n]) << shift
		b = b[n+1:]
		if run == 0 && !first || run > uint64(count-at) {
			return nil, Protocol
		}
		for range run {
			present[at] = is
			at++
		}
		is = !is
	}
	if is {
		return nil, Protocol // the last run was of missing ones
	}
	return present, ""
}

// ReadBody reads section 5's records: all of b. sums has the digests of the chunks that are present, and gets those of the others; data is
// given the bytes of each chunk that comes.
func ReadBody(b, list []byte, chunk int64, lengths []int64, present []bool, sums [][32]byte, data func(n int, b []byte)) (wrong string) {
	next := 0
	for {
		for next < len(lengths) && present[next] {
			next++
		}
		if next == len(lengths) {
			break
		}
		want := 1 + 4 + lengths[next] + 32
		if int64(len(b)) < want || b[0] != 1 || binary.BigEndian.Uint32(b[1:]) != uint32(next) {
			return Protocol
		}
		body := b[5 : 5+lengths[next]]
		if sums[next] = K12(body, nil); sums[next] != [32]byte(b[want-32:want]) {
			return Integrity
		}
		data(next, body)
		b, next = b[want:], next+1
	}
	if len(b) != 33 || b[0] != 2 {
		return Protocol
	}
	if Whole(list, chunk, sums) != [32]byte(b[1:]) {
		return Integrity
	}
	return ""
}

// Whole is section 5.1's digest over all.
func Whole(list []byte, chunk int64, sums [][32]byte) [32]byte {
	all := binary.BigEndian.AppendUint64(nil, uint64(chunk))
	all = binary.BigEndian.AppendUint64(all, uint64(len(list)))
	all = append(all, list...)
	for _, s := range sums {
		all = append(all, s[:]...)
	}
	return K12(all, []byte("traverse transfer 2"))
}
