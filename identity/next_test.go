package identity

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// The next key takes the device's place as a whole, or not at all: one that is damaged does not.
func TestPromote(t *testing.T) {
	dir := t.TempDir()
	old, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := Promote(dir); !errors.Is(err, ErrMissing) {
		t.Errorf("without a next key: %v", err)
	}
	next, err := CreateNext(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateNext(dir); !errors.Is(err, ErrExists) {
		t.Errorf("a second next key: %v", err)
	}
	path := filepath.Join(dir, NextFileName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Promote(dir); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a damaged one: %v", err)
	}
	if have, err := Load(dir); err != nil || have.ID() != old.ID() {
		t.Errorf("the device after that: %v", err)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Promote(dir); err != nil {
		t.Fatal(err)
	}
	if have, err := Load(dir); err != nil || have.ID() != next.ID() {
		t.Errorf("the device is not the next one: %v", err)
	}
	if _, err := LoadNext(dir); !errors.Is(err, ErrMissing) {
		t.Errorf("there is a next key still: %v", err)
	}
	if err := DropNext(dir); err != nil {
		t.Error(err)
	}
}
