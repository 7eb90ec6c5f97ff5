package store

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzOpen: whatever the file holds, Open says that it is damaged or opens it, and never panics; what is kept then can be read.
func FuzzOpen(f *testing.F) {
	path := filepath.Join(f.TempDir(), "db")
	s, err := Open(path)
	if err != nil {
		f.Fatal(err)
	}
	if err := s.Put("a", make([]byte, 5000)); err != nil {
		f.Fatal(err)
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0), []byte{})
	f.Add(uint32(2*os.Getpagesize()+8), []byte{1, 0, 9})
	f.Add(uint32(16), []byte("no database"))
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		path := filepath.Join(t.TempDir(), "db")
		raw := append([]byte(nil), good...)
		if int(at) < len(raw) {
			copy(raw[at:], patch)
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Skip()
		}
		s, _ := Open(path)
		if s == nil {
			t.Fatal("no store")
		}
		defer s.Close()
		if err := s.Each(func(string, []byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}
