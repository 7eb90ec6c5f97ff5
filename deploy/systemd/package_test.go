package systemd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

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

dpkg -i /test/one.deb
not systemctl is-enabled --quiet turnd
not systemctl is-active --quiet turnd
test "$(version)" = 1.0.0
test "$(stat -c %U:%a /usr/bin/turnd /usr/bin/traverse)" = "root:755
root:755"
traverse help | grep -q 'traverse COMMAND'
turnd config check --home /etc/traverse --relay-ip4 127.0.0.1

# As docs/operations.md says.
cat >/etc/traverse/traverse.toml <<END
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
systemctl reload turnd
turnd check turn:laptop@127.0.0.1:3478 --family 4 --pass-file /root/password

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
not ls /run/traverse /run/turnd
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

// TestPackage installs, upgrades, removes and purges the .deb in a booted Debian, with the service running.
func TestPackage(t *testing.T) {
	needs(t, "dpkg-deb")
	tree := container(t)
	dir := t.TempDir()
	for name, version := range map[string]string{"one": "1.0.0", "two": "2.0.0"} {
		dist := filepath.Join(dir, "dist-"+name)
		cmd := exec.CommandContext(t.Context(), "go", "-C", "../release", "run", ".", "-targets", "linux/"+goarch(t), "-formats", "deb", "-version", version, "-dist", dist)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("release: %v\n%s", err, out)
		}
		debs, err := filepath.Glob(filepath.Join(dist, "*.deb"))
		if err != nil || len(debs) != 1 {
			t.Fatal(debs, err)
		}
		if err := os.Rename(debs[0], filepath.Join(dir, name+".deb")); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(dist); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "packaged.sh"), []byte(packaged), 0o755)
	write(t, filepath.Join(dir, "packaged.service"), []byte(packagedUnit), 0o644)
	log := boot(t, tree, dir, "packaged.service")
	if !strings.HasSuffix(string(bytes.TrimSpace(log)), "PASSED") {
		t.Fatalf("inside:\n%s", log)
	}
}

func goarch(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOARCH").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
