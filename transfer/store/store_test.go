package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func open2(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// list returns what is kept.
func list(t *testing.T, s *Store) map[string]string {
	t.Helper()
	got := map[string]string{}
	if err := s.Each(func(id string, record []byte) error { got[id] = string(record); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := open2(t, path)
	for _, err := range []error{
		s.Put("a", []byte("1")), s.Put("b", []byte("2")), s.Put("a", []byte("3")), s.Delete("b"), s.Delete("none"),
		s.PutContent([]Content{{[32]byte{1}, "a", []byte("x")}, {[32]byte{1}, "b", []byte("y")}, {[32]byte{2}, "a", nil}}),
		s.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s = open2(t, path)
	defer s.Close()
	if got := list(t, s); len(got) != 1 || got["a"] != "3" {
		t.Errorf("kept %v", got)
	}
	if got, err := s.FindContent([32]byte{1}); err != nil || len(got) != 2 || string(got[1].Place) != "y" {
		t.Errorf("found %v, %v", got, err)
	}
	if got, err := s.FindContent([32]byte{3}); err != nil || len(got) != 0 {
		t.Errorf("found %v, %v", got, err)
	}
}

// TestDamaged: a file that is cut, overwritten in parts or something else altogether is said to be so, kept, and replaced by an
// empty one.
func TestDamaged(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good")
	s := open2(t, good)
	for _, id := range []string{"a", "b", "c"} {
		if err := s.Put(id, make([]byte, 5000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	zeroed := append([]byte(nil), raw...)
	clear(zeroed[2*page:])
	garbage := append([]byte(nil), raw...)
	for i := 2 * page; i < len(garbage); i++ {
		garbage[i] = byte(i * 7)
	}
	for name, damaged := range map[string][]byte{
		"text": []byte("this is no database"), "cut": raw[:2*page+100], "zeroed": zeroed, "garbage": garbage,
		"no pages": make([]byte, len(raw)),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(path)
			var e *DamagedError
			if !errors.As(err, &e) || s == nil {
				t.Fatalf("opened with %v", err)
			}
			defer s.Close()
			if kept, err := os.ReadFile(e.Aside); err != nil || string(kept[:min(len(kept), 16)]) != string(damaged[:min(len(damaged), 16)]) {
				t.Errorf("the old file: %d bytes, %v", len(kept), err)
			}
			if err := s.Put("x", []byte("y")); err != nil || len(list(t, s)) != 1 {
				t.Errorf("the new one: %v, %v", err, list(t, s))
			}
		})
	}
}

// TestCommits: what is handed over and not waited for is on the disk when Sync returns, and when the store is closed; the newest counts.
func TestCommits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := open2(t, path)
	s.Begin("a", []byte("1"))
	s.Begin("a", []byte("2"))
	if err := s.Sync(); err != nil || list(t, s)["a"] != "2" {
		t.Errorf("after Sync: %v, %v", err, list(t, s))
	}
	s.Begin("b", []byte("3"))
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Put("c", nil); err == nil {
		t.Error("a store that is closed took a record")
	}
	s = open2(t, path)
	defer s.Close()
	if got := list(t, s); got["a"] != "2" || got["b"] != "3" {
		t.Errorf("kept %v", got)
	}
}
