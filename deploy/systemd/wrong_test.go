package systemd

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A mishap is one way in which a service cannot start, or runs with a fault.
type mishap struct {
	name   string
	before func(t *testing.T) // brings it about
	unit   string             // lines of a drop-in
	toml   string             // the configuration; "": the right one
	exit   string             // of the program; "": it runs
	again  bool               // the service manager tries again
	says   []string           // in the journal, of this start
	after  func(t *testing.T) // mends it, beside unit and toml
}

// goesWrong starts the unit with each of them, looks at what the service manager sees and the journal says, and at last
// starts it as it should be.
func goesWrong(t *testing.T, unit, right string, all []mishap) {
	t.Helper()
	dropIn := "/etc/systemd/system/" + unit + ".service.d/wrong.conf"
	start := func() error {
		systemctl(t, "daemon-reload")
		return exec.Command("systemctl", "start", unit).Run()
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			began := time.Now()
			toml := m.toml
			if toml == "" {
				toml = right
			}
			write(t, "/etc/traverse/traverse.toml", []byte(toml), 0o644)
			write(t, dropIn, []byte("[Service]\nRestartSec=1s\n"+m.unit+"\n"), 0o644)
			if m.before != nil {
				m.before(t)
			}
			err := start()
			if (err == nil) != (m.exit == "") {
				t.Errorf("systemctl start: %v", err)
			}
			seen := properties(t, unit, "ActiveState", "ExecMainStatus", "NRestarts")
			state, status := seen["ActiveState"], seen["ExecMainStatus"]
			switch {
			case m.exit == "" && state != "active":
				t.Errorf("it is %s", state)
			case m.exit != "" && status != m.exit:
				t.Errorf("exit code %s, want %s", status, m.exit)
			case m.exit != "" && m.again:
				await(t, "another try", func() bool { return property(t, unit, "NRestarts") != "0" })
			case m.exit != "" && (state != "failed" || seen["NRestarts"] != "0"):
				t.Errorf("it is %s after %s restarts, want failed and none", state, seen["NRestarts"])
			}
			log := journalSince(t, unit, began)
			for _, want := range m.says {
				if !strings.Contains(log, want) {
					t.Errorf("the journal has no %q:\n%s", want, log)
				}
			}
			if m.exit == "" || m.again {
				systemctl(t, "stop", unit)
			}
			if m.after != nil {
				m.after(t)
			}
			if err := os.Remove(dropIn); err != nil {
				t.Fatal(err)
			}
			_ = exec.Command("systemctl", "reset-failed", unit).Run()
		})
	}
	write(t, "/etc/traverse/traverse.toml", []byte(right), 0o644)
	if err := start(); err != nil {
		t.Errorf("with everything right: %v\n%s", err, journal(t, unit))
	}
	systemctl(t, "stop", unit)
}

// properties are several at once.
func properties(t *testing.T, unit string, names ...string) map[string]string {
	t.Helper()
	out, err := exec.Command("systemctl", "show", "--property="+strings.Join(names, ","), unit).Output()
	if err != nil {
		t.Fatalf("systemctl show %s: %v", unit, err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		found[name] = value
	}
	return found
}

func journalSince(t *testing.T, unit string, began time.Time) string {
	t.Helper()
	_ = exec.Command("journalctl", "--sync").Run()
	out, err := exec.Command("journalctl", "--no-pager", "--output=cat", "--unit="+unit, fmt.Sprintf("--since=@%.3f", float64(began.UnixMilli())/1000)).CombinedOutput()
	if err != nil {
		t.Errorf("journalctl: %v, %s", err, out)
	}
	return string(out)
}

func chmod(path string, mode os.FileMode) func(t *testing.T) {
	return func(t *testing.T) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
}

// taken has another program on the port while the case lasts.
func taken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:3478")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// certificate makes one, and its key, that ends at the time given.
func certificate(ends time.Time) func(t *testing.T) {
	return certificateFrom(ends.Add(-time.Hour), ends)
}

func certificateFrom(begins, ends time.Time) func(t *testing.T) {
	return func(t *testing.T) {
		t.Helper()
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"relay.example"}, NotBefore: begins, NotAfter: ends}
		der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
		if err != nil {
			t.Fatal(err)
		}
		key, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		write(t, "/etc/traverse/cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
		write(t, "/etc/traverse/key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600)
	}
}

func turndGoesWrong(t *testing.T) {
	right := fmt.Sprintf(settings, `"127.0.0.1:3478"`)
	secure := right + "listen_tls = [\"127.0.0.1:5349\"]\ncert_file = \"/run/turnd/cert.pem\"\nkey_file = \"/run/turnd/key.pem\"\n"
	const refused = `"msg":"serving"`
	goesWrong(t, "turnd", right, []mishap{
		{
			name: "an unknown key", toml: right + "allow_peers = []\n", exit: "3",
			says: []string{"error: the configuration is wrong", "traverse.toml:", "did you mean", "allow_peer"},
		},
		{
			name: "a wrong command line", exit: "2", says: []string{"error: unknown flag: --relm", "try:   turnd run -h"},
			unit: "ExecStart=\nExecStart=/usr/bin/turnd run --relm x",
		},
		{
			name: "a secret that others can read", exit: "3", before: chmod("/etc/traverse/users", 0o644), after: chmod("/etc/traverse/users", 0o600),
			says: []string{"error: /etc/traverse/users is open to others", "try:   chmod 600 /etc/traverse/users", "error: cannot use the users file"},
		},
		{name: "a taken port", exit: "3", before: taken, says: []string{"address already in use", "try:   end the other program"}},
		{
			name: "a certificate that has ended", toml: secure, before: certificate(time.Now().Add(-24 * time.Hour)),
			says: []string{refused, "the certificate has ended, or the clock is wrong"},
		},
		{
			name: "a clock that is behind, by the certificate", toml: secure, before: certificateFrom(time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour)),
			says: []string{refused, "the certificate is not valid yet, or the clock is wrong", "timedatectl"},
		},
		{
			name: "a certificate that is none", toml: secure, exit: "3", says: []string{"error: the certificate cannot be used", "try:   PEM files that belong together"},
			before: func(t *testing.T) { write(t, "/etc/traverse/cert.pem", []byte("x"), 0o644) },
		},
		{
			name: "a certificate that is not there", toml: secure, exit: "3", says: []string{"error: the certificate cannot be used"},
			before: func(t *testing.T) { _ = os.Remove("/etc/traverse/cert.pem") },
			after:  func(t *testing.T) { _ = os.Remove("/etc/traverse/key.pem") },
		},
		{
			name: "no capability for the relay in the kernel", exit: "3", toml: strings.Replace(right, `relay_ip4 = "127.0.0.1"`, "relay_ip4 = \"127.0.0.1\"\noffload = \"tc\"", 1) + "listen_dtls = []\n",
			unit: "ExecStart=\nExecStart=/usr/bin/turnd run --home /etc/traverse --users-file %t/turnd/users --listen-udp 0.0.0.0:3478 --admin-socket %t/turnd/admin.sock",
			says: []string{"error: there can be no relay in the kernel", "CAP_", "try:   offload = auto"},
		},
		{
			name: "the same, where it may do without", toml: strings.Replace(right, `relay_ip4 = "127.0.0.1"`, "relay_ip4 = \"127.0.0.1\"\noffload = \"auto\"", 1),
			unit: "ExecStart=\nExecStart=/usr/bin/turnd run --home /etc/traverse --users-file %t/turnd/users --listen-udp 0.0.0.0:3478 --admin-socket %t/turnd/admin.sock",
			says: []string{refused, "everything is relayed in user space"},
		},
		{name: "fewer descriptors than the limits take", unit: "LimitNOFILE=1024", says: []string{refused, "too few descriptors", `"needed":34200`, "LimitNOFILE=34200"}},
		{name: "too few descriptors to begin with", unit: "LimitNOFILE=12", exit: "3", says: []string{"error: there are too few descriptors", "try:   LimitNOFILE=65536"}},
	})
}

// crashes: a fault of the program's own, of which Go says exit code 2 unless it is told otherwise, is not taken for a wrong
// command line.
func crashes(t *testing.T) {
	systemctl(t, "start", "turnd")
	var pid int
	if _, err := fmt.Sscan(property(t, "turnd", "MainPID"), &pid); err != nil || pid < 2 {
		t.Fatalf("MainPID %d, %v", pid, err)
	}
	began := time.Now()
	if err := syscall.Kill(pid, syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	await(t, "another process", func() bool {
		return property(t, "turnd", "ActiveState") == "active" && property(t, "turnd", "MainPID") != fmt.Sprint(pid)
	})
	if log := journalSince(t, "turnd", began); !strings.Contains(log, "goroutine ") || strings.Contains(log, "status=2") {
		t.Errorf("the journal has no stacks, or an exit code:\n%s", log)
	}
	systemctl(t, "stop", "turnd")
}

// killedInReload: the process dies while the service manager waits for its reload. It is started anew, with the new
// configuration, and nothing of the old copies is left.
func killedInReload(t *testing.T) {
	systemctl(t, "start", "turnd")
	var pid int
	if _, err := fmt.Sscan(property(t, "turnd", "MainPID"), &pid); err != nil || pid < 2 {
		t.Fatalf("MainPID %d, %v", pid, err)
	}
	write(t, "/etc/traverse/users", []byte("u:p\nnew:x\n"), 0o600)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil { // it does not come to an answer
		t.Fatal(err)
	}
	systemctl(t, "--no-block", "reload", "turnd")
	await(t, "it reloads", func() bool { return property(t, "turnd", "SubState") == "reload" })
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "another process", func() bool {
		return property(t, "turnd", "ActiveState") == "active" && property(t, "turnd", "MainPID") != fmt.Sprint(pid)
	})
	if _, err := allocateAs(t, "new", "x"); err != nil {
		t.Errorf("the new user: %v", err)
	}
	files, err := os.ReadDir("/run/turnd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), ".") {
			t.Errorf("left is %s", f.Name())
		}
	}
	write(t, "/etc/traverse/users", []byte("u:p\n"), 0o600)
	systemctl(t, "stop", "turnd")
}

func nodeGoesWrong(t *testing.T) {
	right := fmt.Sprintf(settings, `"127.0.0.1:3478"`)
	const key, state = "/var/lib/traverse/identity/device.pem", "/var/lib/private/traverse"
	write(t, "/etc/traverse/relay-password", []byte("p\n"), 0o600)
	small := func(t *testing.T) { // the state on a disk that is full to the last byte
		t.Helper()
		for _, step := range []string{
			"rm -rf /root/state && cp -a " + state + " /root/state",
			"mount -t tmpfs -o size=1m,mode=0700 tmpfs " + state + " && cp -a /root/state/. " + state + " && rm -rf " + state + "/transfers",
			"chown --reference=/root/state " + state,
			"cat /dev/zero >" + state + "/filler || true",
		} {
			if out, err := exec.Command("sh", "-c", step).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v, %s", step, err, out)
			}
		}
	}
	goesWrong(t, "traverse", right, []mishap{
		{name: "an unknown key", toml: right + "[acept]\n", exit: "3", says: []string{"error: the configuration is wrong", "did you mean"}},
		{name: "a wrong command line", unit: "ExecStart=\nExecStart=/usr/bin/traverse up --relm", exit: "2", says: []string{"unknown flag", "try:   traverse up -h"}},
		{
			name: "a key that others can read", exit: "5", before: chmod(key, 0o644), after: chmod(key, 0o600),
			says: []string{"error: cannot use the device identity", "permissions too open", "chmod 600", "try:   chmod -R go="},
		},
		{
			name: "a password that others can read", exit: "3", before: chmod("/etc/traverse/relay-password", 0o644), after: chmod("/etc/traverse/relay-password", 0o600),
			says: []string{"error: /etc/traverse/relay-password is open to others", "try:   chmod 600 /etc/traverse/relay-password"},
		},
		{name: "a disk that cannot be written", unit: "ReadOnlyPaths=" + state, exit: "3", says: []string{"read-only file system", "try:   "}},
		{
			name: "a full disk", before: small, exit: "14", again: true, says: []string{"no space left on device", "try:   "},
			after: func(t *testing.T) {
				if out, err := exec.Command("umount", state).CombinedOutput(); err != nil {
					t.Fatalf("%v, %s", err, out)
				}
			},
		},
		{name: "too few descriptors to begin with", unit: "LimitNOFILE=12", exit: "3", says: []string{"too few descriptors", "LimitNOFILE=65536"}},
		{
			name: "a taken port", exit: "3", says: []string{"another program uses that address"},
			before: func(t *testing.T) {
				c, err := net.ListenPacket("udp", "127.0.0.1:17001")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
			},
		},
	})
	for line := range strings.Lines(journal(t, "traverse")) {
		if strings.HasPrefix(line, "{") && !json.Valid([]byte(line)) {
			t.Errorf("the journal has %q", line)
		}
	}
}
