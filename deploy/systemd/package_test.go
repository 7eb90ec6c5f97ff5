package systemd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"traverse.internal/core/turnclient"
)

// everything is a function of the scripts below.
const everything = `# All files but those of the running system and the records of the package manager itself.
everything() {
	find / \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp -o -path /root -o -path /test -o -path /var/log \
		-o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/rpm -o -path /var/lib/systemd \) -prune -o -print | sort
}
`

// setUp configures turnd, as docs/operations.md says, starts it and checks it; a part of the scripts below.
const setUp = `cat >/etc/traverse/traverse.toml <<END
schema = 1
[turnd]
listen_udp = ["127.0.0.1:3478"]
listen_tcp = ["127.0.0.1:3478"]
relay_ip4 = "127.0.0.1"
allow_peer = ["127.0.0.0/8"]
END
(umask 077; echo 'laptop:a long password' >/etc/traverse/users; echo 'a long password' >/root/password)
systemctl enable --now turnd
turnd check turn:laptop@127.0.0.1:3478 --family 4 --pass-file /root/password
`

// packaged is what an administrator does with a package, from the installation to the end. `set -e` makes every line a
// test; what is to fail is said to.
const packaged = `#!/bin/sh
set -eux
exec >/test/log 2>&1
# A negated command is no test to set -e.
not() { if "$@"; then exit 1; fi; }
# A checkout with changes marks its packages.
version() { dpkg-query -W -f '${Version}' traverse | sed 's/+dirty$//'; }
pid() { systemctl show -P MainPID turnd; }
` + everything + `
everything >/root/before
dpkg -i /test/one.deb
not systemctl is-enabled --quiet turnd
not systemctl is-active --quiet turnd
test "$(version)" = 1.0.0
test "$(stat -c %U:%a /usr/bin/turnd /usr/bin/traverse)" = "root:755
root:755"
traverse help | grep -q 'traverse COMMAND'
turnd config check --home /etc/traverse --relay-ip4 127.0.0.1

# As docs/operations.md says.
` + setUp + `systemctl reload turnd
turnd check turn:laptop@127.0.0.1:3478 --family 4 --pass-file /root/password
TRAVERSE_SESSION=1 /test/session.test -test.v -test.run '^TestSession$' | tee /root/session
not grep -q SKIP /root/session

# An upgrade goes on with what ran, with the new program, and leaves what was edited.
before=$(pid)
dpkg -i --force-confold /test/two.deb
test "$(version)" = 2.0.0
systemctl is-active --quiet turnd
test "$(pid)" != "$before"
grep -q allow_peer /etc/traverse/traverse.toml
turnd check turn:laptop@127.0.0.1:3478 --family 4 --pass-file /root/password
not systemctl is-active --quiet traverse

# After the removal there is configuration and state, and nothing else.
systemctl start traverse
test -e /var/lib/traverse/identity/device.pem
dpkg -L traverse | while read -r f; do if [ -f "$f" ]; then echo "$f"; fi; done | sort >/root/installed
grep -q /usr/bin/turnd /root/installed
dpkg -r traverse
not systemctl is-active --quiet turnd
not systemctl is-active --quiet traverse
not systemctl cat turnd
test "$(while read -r f; do if [ -e "$f" ]; then echo "$f"; fi; done </root/installed)" = /etc/traverse/traverse.toml
test -e /etc/traverse/users
test -e /var/lib/traverse/identity/device.pem
not ls /run/traverse
not ls /run/turnd
for p in /proc/[0-9]*/exe; do case $(readlink "$p" || true) in /usr/bin/turnd*|/usr/bin/traverse*) exit 1;; esac; done
everything | comm -13 /root/before - >/root/left
cat /root/left
not grep -v -x -E '/etc/traverse(/.*)?|/var/lib/traverse|/var/lib/private(/traverse(/.*)?)?' /root/left
dpkg -P traverse
not test -e /etc/traverse/traverse.toml
test -e /etc/traverse/users
echo PASSED
`

const packagedUnit = `[Unit]
Description=what an administrator does with a package
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
TimeoutStartSec=150s
Environment=HOME=/root
ExecStart=/bin/sh /test/packaged.sh
`

// TestPackage installs, upgrades, removes and purges packages in a booted Debian, with the service running and a client that has
// a session. For the .rpm the distribution's rpm has no database to find what a package requires in; the scripts, the files and
// systemd are as everywhere.
func TestPackage(t *testing.T) {
	needs(t, "dpkg-deb")
	tree := container(t)
	dir := t.TempDir()
	build(t, "test", "-c", "-o", filepath.Join(dir, "session.test"), ".")
	programs := t.TempDir() // built once: the version is the packages'
	for name, version := range map[string]string{"one": "1.0.0", "two": "2.0.0"} {
		dist := filepath.Join(dir, "dist-"+name)
		cmd := exec.CommandContext(t.Context(), "go", "-C", "../release", "run", ".", "-targets", "linux/"+goarch(t), "-formats", "deb,rpm",
			"-version", version, "-programs", programs, "-dist", dist)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("release: %v\n%s", err, out)
		}
		for _, format := range []string{"deb", "rpm"} {
			made, err := filepath.Glob(filepath.Join(dist, "*."+format))
			if err != nil || len(made) != 1 {
				t.Fatal(made, err)
			}
			if err := os.Rename(made[0], filepath.Join(dir, name+"."+format)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.RemoveAll(dist); err != nil {
			t.Fatal(err)
		}
	}
	for _, format := range []struct{ name, needs, script string }{{"deb", "usr/bin/dpkg", packaged}, {"rpm", "usr/bin/rpm", rpmPackaged}} {
		t.Run(format.name, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(tree, format.needs)); err != nil {
				t.Skipf("SKIPPED: there is no %s in the container", format.needs)
			}
			if err := os.RemoveAll(filepath.Join(dir, "log")); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "packaged.sh"), []byte(format.script), 0o755)
			write(t, filepath.Join(dir, "packaged.service"), []byte(packagedUnit), 0o644)
			log := boot(t, tree, dir, "packaged.service")
			if !strings.HasSuffix(string(bytes.TrimSpace(log)), "PASSED") {
				t.Fatalf("inside:\n%s", log)
			}
			t.Logf("inside:\n%s", log)
		})
	}
}

// rpmPackaged is the same with rpm, whose scripts are others.
const rpmPackaged = `#!/bin/sh
set -eux
exec >/test/log 2>&1
not() { if "$@"; then exit 1; fi; }
rpm() { command rpm --force-debian --nodeps "$@"; }
version() { command rpm -q --qf '%{VERSION}' traverse | sed 's/+dirty$//'; }
pid() { systemctl show -P MainPID turnd; }
` + everything + `
everything >/root/before
rpm -i /test/one.rpm
not systemctl is-enabled --quiet turnd
not systemctl is-active --quiet turnd
test "$(version)" = 1.0.0
command rpm -V --nodeps traverse
turnd config check --home /etc/traverse --relay-ip4 127.0.0.1
` + setUp + `
before=$(pid)
rpm -U /test/two.rpm
test "$(version)" = 2.0.0
systemctl is-active --quiet turnd
systemctl is-enabled --quiet turnd
test "$(pid)" != "$before"
grep -q allow_peer /etc/traverse/traverse.toml
turnd check turn:laptop@127.0.0.1:3478 --family 4 --pass-file /root/password
not systemctl is-active --quiet traverse

systemctl start traverse
test -e /var/lib/traverse/identity/device.pem
command rpm -ql traverse | while read -r f; do if [ -f "$f" ]; then echo "$f"; fi; done | sort >/root/installed
grep -q /usr/bin/turnd /root/installed
rpm -e traverse
not systemctl is-active --quiet turnd
not systemctl is-active --quiet traverse
not systemctl cat turnd
test -z "$(while read -r f; do if [ -e "$f" ]; then echo "$f"; fi; done </root/installed)"
# What was edited is kept, as rpm does it.
grep -q allow_peer /etc/traverse/traverse.toml.rpmsave
test -e /etc/traverse/users
test -e /var/lib/traverse/identity/device.pem
not ls /run/traverse
not ls /run/turnd
for p in /proc/[0-9]*/exe; do case $(readlink "$p" || true) in /usr/bin/turnd*|/usr/bin/traverse*) exit 1;; esac; done
everything | comm -13 /root/before - >/root/left
cat /root/left
not grep -v -x -E '/etc/traverse(/.*)?|/var/lib/traverse|/var/lib/private(/traverse(/.*)?)?' /root/left
not ls /etc/systemd/system/multi-user.target.wants/turnd.service
echo PASSED
`

// TestSession runs in the container of TestPackage: a client has a session while turnd is restarted.
func TestSession(t *testing.T) {
	if os.Getenv("TRAVERSE_SESSION") == "" {
		t.Skip("runs in the container of TestPackage")
	}
	over := func() *turnclient.Allocation {
		a, err := allocateAs(t, "laptop", "a long password")
		if err != nil {
			t.Fatal(err)
		}
		echoed(t, a)
		return a
	}
	before := over()
	if out, err := exec.CommandContext(t.Context(), "systemctl", "restart", "turnd").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	select {
	case <-before.Done():
	case <-time.After(10 * time.Second):
		t.Error("the client does not learn that its session has ended")
	}
	over() // at once: nobody was refused
}

func goarch(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOARCH").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
