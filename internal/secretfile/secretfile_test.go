package secretfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestPrivate(t *testing.T) {
	const root, us, other = 0, 1000, 1001
	for _, c := range []struct {
		name        string
		mode        fs.FileMode
		owner, self int
		want        bool
	}{
		{"ours", 0o600, us, us, true},
		{"ours, to read only", 0o400, us, us, true},
		{"ours, and our group's", 0o640, us, us, false},
		{"ours, and everybody's", 0o644, us, us, false},
		{"root's for our group, a Secret", 0o440, root, us, true},
		{"root's for our group", 0o640, root, us, true},
		{"root's, and the group writes", 0o660, root, us, false},
		{"root's, and everybody reads", 0o444, root, us, false},
		{"root's, and we are root", 0o440, root, root, false},
		{"root's alone, and we are root", 0o600, root, root, true},
		{"somebody else's for a group", 0o440, other, us, false},
		{"somebody else's, and we are root", 0o600, other, root, true},
	} {
		if got := private(c.mode, c.owner, c.self); got != c.want {
			t.Errorf("%s (%#o): private is %v, want %v", c.name, c.mode, got, c.want)
		}
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	var open *PermissionError
	if _, err := Open(path); !errors.As(err, &open) || open.Mode != 0o644 || open.Path != path {
		t.Errorf("for all to read: got %v, want a PermissionError", err)
	}
	if _, err := Open(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || string(got) != "x" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A Secret's file as the kubelet makes it for a pod with fsGroup, read by a process that is not root.
func TestOpenAsGroup(t *testing.T) {
	const uid, gid = 65534, 64999
	path := os.Getenv("SECRETFILE_TEST")
	if path != "" { // the process
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("not root: cannot give a file to another group")
	}
	dir, err := os.MkdirTemp("", "secretfile") // t.TempDir has parents that are root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "program")
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "users")
	for _, err := range []error{
		os.WriteFile(program, binary, 0o755), os.Chmod(dir, 0o755),
		os.WriteFile(path, []byte("u:p\n"), 0o440), os.Chown(path, 0, gid),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		mode fs.FileMode
		fits bool
	}{{"0440", 0o440, true}, {"0444", 0o444, false}} {
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "-test.run=^TestOpenAsGroup$")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "SECRETFILE_TEST="+path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: []uint32{gid}}}
		if out, err := cmd.CombinedOutput(); (err == nil) != c.fits {
			t.Errorf("%s: %v, %s", c.name, err, out)
		}
	}
}
