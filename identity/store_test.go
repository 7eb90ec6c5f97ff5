package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestCreateThenLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home", "identity")
	if _, err := Load(dir); !errors.Is(err, ErrMissing) || !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Load before Create: %v, want ErrMissing", err)
	}
	made, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if loaded.ID() != made.ID() || !bytes.Equal(loaded.leaf.Raw, made.leaf.Raw) {
		t.Errorf("Load = %v, want %v with the same certificate", loaded.ID(), made.ID())
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, FileName): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", filepath.Base(path), info.Mode().Perm(), err, want)
		}
	}
	assertOnlyIdentity(t, dir)
}

func assertOnlyIdentity(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != FileName {
		t.Errorf("directory holds %v, %v, want only %s", entries, err, FileName)
	}
}

func TestCreateRefusesToOverwrite(t *testing.T) {
	for name, content := range map[string]string{"an identity": "", "an empty file": "", "somebody's notes": "notes"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, FileName)
			if name == "an identity" {
				if _, err := Create(dir); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(path)
			if _, err := Create(dir); !errors.Is(err, ErrExists) || !errors.Is(err, fs.ErrExist) {
				t.Fatalf("Create over it: %v, want ErrExists", err)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(after, before) {
				t.Error("the file changed")
			}
			assertOnlyIdentity(t, dir)
		})
	}
}

// The link decides, not the look before it.
func TestConcurrentCreateMakesOneIdentity(t *testing.T) {
	dir := t.TempDir()
	const racers = 8
	made := make([]*Device, racers)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			device, err := Create(dir)
			if err != nil && !errors.Is(err, ErrExists) {
				t.Errorf("Create: %v, want success or ErrExists", err)
			}
			made[i] = device
		})
	}
	wg.Wait()
	var winners []*Device
	for _, d := range made {
		if d != nil {
			winners = append(winners, d)
		}
	}
	loaded, err := Load(dir)
	if err != nil || len(winners) != 1 || winners[0].ID() != loaded.ID() {
		t.Fatalf("%d of %d creators won; stored %v, %v; want one, and its identity stored", len(winners), racers, loaded, err)
	}
	assertOnlyIdentity(t, dir)
}

func TestCreateNeverOverwritesWhatAppearsMeanwhile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := os.WriteFile(path, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(dir, path, []byte("second")); !errors.Is(err, ErrExists) {
		t.Fatalf("writeNew over a file: %v, want ErrExists", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "first" {
		t.Errorf("file holds %q, want %q", got, "first")
	}
	assertOnlyIdentity(t, dir)
}

func TestLoadRefusesLoosePermissions(t *testing.T) {
	for _, c := range []struct {
		name      string
		file, dir fs.FileMode
		ok        bool
		wantText  string
	}{
		{"as created", 0o600, 0o700, true, ""},
		{"read-only file", 0o400, 0o700, true, ""},
		{"directory others may list", 0o600, 0o755, true, ""},
		{"file the group may read", 0o640, 0o700, false, "mode 0640, want 0600"},
		{"file all may read", 0o604, 0o700, false, "mode 0604, want 0600"},
		{"file the group may write", 0o620, 0o700, false, "mode 0620, want 0600"},
		{"directory the group may write", 0o600, 0o770, false, "directory has mode 0770"},
		{"directory all may write", 0o600, 0o707, false, "directory has mode 0707"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "id")
			if _, err := Create(dir); err != nil {
				t.Fatal(err)
			}
			for path, mode := range map[string]fs.FileMode{filepath.Join(dir, FileName): c.file, dir: c.dir} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Load(dir)
			if c.ok && err != nil || !c.ok && !errors.Is(err, ErrPermissions) {
				t.Fatalf("Load: %v, want ok = %v", err, c.ok)
			}
			if err != nil && !strings.Contains(err.Error(), c.wantText) {
				t.Errorf("error reads %q, want %q in it", err, c.wantText)
			}
		})
	}
}

func TestCreateRefusesDirectoryOthersMayWrite(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir); !errors.Is(err, ErrPermissions) {
		t.Fatalf("Create: %v, want ErrPermissions", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left %v behind", entries)
	}
}

func TestCreateWhereThereCanBeNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(filepath.Join(file, "identity")); !errors.Is(err, syscall.ENOTDIR) {
		t.Fatalf("Create below a file: %v, want ENOTDIR", err)
	}
}

func TestLoadRefusesDamage(t *testing.T) {
	whole := sampleFile(t)
	other := sampleFile(t)
	keyEnd := bytes.Index(whole, []byte("-----BEGIN CERTIFICATE"))
	otherEnd := bytes.Index(other, []byte("-----BEGIN CERTIFICATE"))
	for _, c := range []struct {
		name     string
		data     []byte
		wantText string
	}{
		{"empty", nil, "not an identity file"},
		{"another program's key", []byte("-----BEGIN PRIVATE KEY-----\n"), "not an identity file"},
		{"a later version", bytes.Replace(whole, []byte("identity 1"), []byte("identity 2"), 1), `unknown version "2"`},
		{"cut after the key", whole[:keyEnd], "no certificate"},
		{"cut in the certificate", whole[:len(whole)-100], "no certificate"},
		{"last newline cut", whole[:len(whole)-1], "damaged"},
		{"another key's certificate", append(whole[:keyEnd:keyEnd], other[otherEnd:]...), "certificate is not the key's own"},
		{"certificate before key", append(append([]byte(fileMagic), whole[keyEnd:]...), whole[len(fileMagic):keyEnd]...), "no private key"},
		{"text behind", append(whole[:len(whole):len(whole)], "more\n"...), "damaged"},
		{"an ECDSA key", ecdsaFile(t, whole[keyEnd:]), "not Ed25519"},
		{"far too long", bytes.Repeat([]byte("x"), maxFileSize+1), "longer than 16384 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, FileName), c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Load(dir)
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.wantText) {
				t.Fatalf("Load: %v, want ErrCorrupt with %q", err, c.wantText)
			}
		})
	}
}

func TestLoadOfSomethingThatIsNoFile(t *testing.T) {
	t.Run("directory", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, FileName), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("Load: %v, want ErrCorrupt", err)
		}
	})
	t.Run("named pipe", func(t *testing.T) { // must not wait for a writer
		dir := t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(dir, FileName), 0o600); err != nil {
			t.Skipf("no named pipe here: %v", err)
		}
		if _, err := Load(dir); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("Load: %v, want ErrCorrupt", err)
		}
	})
}

// Every cut and every changed byte is noticed: no file reads as another device, or as half of one.
func TestAnyCutOrChangedByteIsNoticed(t *testing.T) {
	whole := sampleFile(t)
	for i := range whole {
		if _, err := parseFile(whole[:i]); err == nil {
			t.Fatalf("cut to %d of %d bytes: accepted", i, len(whole))
		}
		changed := bytes.Clone(whole)
		changed[i] ^= 1
		if _, err := parseFile(changed); err == nil {
			t.Fatalf("byte %d changed from %q to %q: accepted", i, whole[i], changed[i])
		}
	}
}

func sampleFile(t testing.TB) []byte {
	t.Helper()
	device, err := New()
	if err != nil {
		t.Fatal(err)
	}
	data, err := appendFile(nil, device.key, device.leaf.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func ecdsaFile(t *testing.T, cert []byte) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	out := append([]byte(fileMagic), pem.EncodeToMemory(&pem.Block{Type: keyLabel, Bytes: der})...)
	return append(out, cert...)
}

func FuzzIdentityFile(f *testing.F) {
	whole := sampleFile(f)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte(fileMagic))
	f.Add([]byte("traverse-identity 7\n"))
	f.Add(bytes.Replace(whole, []byte("\n"), []byte("\r\n"), -1))
	f.Fuzz(func(t *testing.T, data []byte) {
		device, err := parseFile(data)
		if err != nil {
			return
		}
		again, err := appendFile(nil, device.key, device.leaf.Raw)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("read and written again: %v\n%s\nwant\n%s", err, again, data)
		}
	})
}
