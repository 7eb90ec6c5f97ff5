package systemd

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The container: what debootstrap installs, and where the result is kept between runs. A change of either gets a name
// of its own.
const (
	suite    = "bookworm"
	packages = "systemd,systemd-sysv,dbus,rpm"
	cacheDir = "traverse-test/nspawn-bookworm-2"
)

// inside is the unit that runs TestInside in the container, and ends the container with itself.
const inside = `[Unit]
Description=TestInside
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
TimeoutStartSec=330s
Environment=TRAVERSE_INSIDE=1 HOME=/root
WorkingDirectory=/units
ExecStart=/test/inside.test -test.v -test.run ^TestInside$ -test.timeout 300s
StandardOutput=file:/test/log
StandardError=inherit
`

// TestBooted boots Debian's systemd in a container without a network and runs TestInside there. It takes half a minute, and 30 s
// more for the first time on a machine. Root, debootstrap and systemd-nspawn are needed.
func TestBooted(t *testing.T) {
	tree := container(t)
	dir := t.TempDir()
	build(t, "build", "-o", filepath.Join(dir, "turnd"), "../../cmd/turnd")
	build(t, "build", "-o", filepath.Join(dir, "traverse"), "../../cmd/node")
	build(t, "test", "-c", "-o", filepath.Join(dir, "inside.test"), ".")
	if err := os.WriteFile(filepath.Join(dir, "inside.service"), []byte(inside), 0o644); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	log := boot(t, tree, dir, "inside.service", "--bind-ro="+here+":/units",
		"--bind-ro="+dir+"/turnd:/usr/bin/turnd", "--bind-ro="+dir+"/traverse:/usr/bin/traverse")
	if !strings.HasSuffix(string(bytes.TrimSpace(log)), "PASS") || bytes.Contains(log, []byte("--- SKIP")) {
		t.Fatalf("inside:\n%s", log)
	}
	t.Logf("inside:\n%s", log)
}

// container is a folder with a small Debian that can be booted here. Where none can, the test is skipped.
func container(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: not root, so no container can be booted")
	}
	needs(t, "debootstrap", "systemd-nspawn")
	tree := debian(t)
	// Root is not root everywhere: in a chroot, for one, no container can be made.
	if out, err := exec.CommandContext(t.Context(), "systemd-nspawn", "--quiet", "--directory="+tree, "--volatile=overlay", "--private-network",
		"--keep-unit", "--register=no", "--console=pipe", "--", "/bin/true").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: systemd-nspawn cannot run a program here: %v: %s", err, bytes.TrimSpace(out))
	}
	return tree
}

// boot boots the tree with a unit of dir as its target, and returns what the unit wrote to the file log of dir, which the
// container sees as /test. The container ends with the unit.
func boot(t *testing.T, tree, dir, unit string, binds ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	args := append([]string{
		"--quiet", "--directory=" + tree, "--volatile=overlay", "--private-network", "--keep-unit", "--register=no", "--console=read-only",
		"--bind=" + dir + ":/test", "--bind-ro=" + dir + "/" + unit + ":/etc/systemd/system/" + unit,
	}, binds...)
	cmd := exec.CommandContext(ctx, "systemd-nspawn", append(args, "--boot", "--", "--unit="+unit)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	console, err := cmd.CombinedOutput()
	log, logErr := os.ReadFile(filepath.Join(dir, "log"))
	if logErr != nil {
		t.Fatalf("the container did not boot: %v\n%s", err, console[max(0, len(console)-4000):])
	}
	return log
}

// build builds a program that runs in the container, which has no C library to rely on.
func build(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="+os.Getenv("GOFLAGS")+" -buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// debian returns a folder with a small Debian. It is made once and never written to: the container gets an overlay.
func debian(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	tree := filepath.Join(cache, filepath.FromSlash(cacheDir))
	if err := os.MkdirAll(filepath.Dir(tree), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(tree+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tree); err == nil {
		return tree
	}
	half := tree + ".half"
	if err := os.RemoveAll(half); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	out, err := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include="+packages, suite, half).CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Skipf("SKIPPED: debootstrap: %v: %s", err, lines[len(lines)-1])
	}
	if err := os.Rename(half, tree); err != nil {
		t.Fatal(err)
	}
	t.Logf("made %s in %v", tree, time.Since(began).Round(time.Second))
	return tree
}
