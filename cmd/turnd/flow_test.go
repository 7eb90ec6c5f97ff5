package main

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"traverse.internal/core/stun"
)

// scrape returns the samples of a /metrics page whose names begin as given, a line each.
func scrape(t *testing.T, at, prefix string) string {
	t.Helper()
	resp, err := http.Get("http://" + at + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(regexp.MustCompile(`(?m)^`+prefix+`.*$`).FindAllString(string(page), -1), "\n")
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, there func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !there(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// kill -HUP under a numbered flow of 2,000 packets a second: nothing is dropped, nothing is out of order, and what changed is
// in force: users, secret, certificate, a tightened rule, the address of the metrics.
func TestHUPUnderFlow(t *testing.T) {
	dir := t.TempDir()
	secret, conf := filepath.Join(dir, "secret"), filepath.Join(dir, "turnd.toml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := writeCertificate(t, dir, 1)
	users := usersFile(t, "u:p\n", 0o600)
	text := `[turnd]
realm = "bench.local"
listen_udp = ["127.0.0.1:0"]
listen_tcp = ["127.0.0.1:0"]
listen_tls = ["127.0.0.1:0"]
cert_file = "` + cert + `"
key_file = "` + key + `"
relay_ip4 = "127.0.0.1"
port_range = "40000-49000"
allow_peer = ["127.0.0.0/8"]
users_file = "` + users + `"
secret_file = "` + secret + `"
[metrics]
listen = "127.0.0.1:0"
`
	write(secret, "north\n")
	write(conf, text)
	cmd, r := process(t, "--config", conf)
	check := func(url string, more ...string) int {
		t.Helper()
		exit, _, _ := command(t, append([]string{"check", url, "--family", "4", "--no-data"}, more...)...)
		return exit
	}
	minted := func(secret string) (url, password string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "s")
		write(path, secret+"\n")
		_, out, _ := command(t, "cred", "mint", "--user", "a", "--auth-secret-file", path, "--json")
		var made struct{ Username, Password string }
		if err := json.Unmarshal([]byte(out), &made); err != nil {
			t.Fatal(err)
		}
		return "turn:" + made.Username + "@" + r.ready.UDP[0].String(), made.Password
	}
	url, password := minted("north")
	if exit := check(url, "--udp", "--pass", password); exit != 0 {
		t.Fatalf("the first secret: exit code %d", exit)
	}
	peer, at := listenPeer(t, "127.0.0.1")
	_, denied := listenPeer(t, "127.0.0.9")
	c := dialUDP(t, r.ready.UDP[0])
	c.allocate()
	for channel, to := range map[uint16]stun.ErrorCode{0x4000: c.bind(0x4000, at), 0x4001: c.bind(0x4001, denied)} {
		if to != 0 {
			t.Fatalf("channel %#x: %v", channel, to)
		}
	}

	const packets, burst = 4000, 10 // 2 s at 2,000 a second
	tick := time.NewTicker(burst * time.Second / 2000)
	defer tick.Stop()
	received := make(chan uint32, packets)
	go func() {
		defer close(received)
		b := make([]byte, 100)
		for range packets {
			_ = peer.SetReadDeadline(time.Now().Add(10 * time.Second))
			n, err := peer.Read(b)
			if err != nil || n != 4 {
				return
			}
			received <- binary.BigEndian.Uint32(b)
		}
	}()
	dropsBefore := scrape(t, r.ready.Metrics, "turnd_drops_total")
	for n := uint32(0); n < packets; n++ {
		if n%burst == 0 {
			<-tick.C
		}
		switch n { // twice, and once with nothing changed
		case 500:
			write(secret, "south\n")
			write(users, "u:p\nw:x\n")
			writeCertificate(t, dir, 2)
			write(conf, strings.Replace(text, "allow_peer", "deny_peer = [\"127.0.0.9/32\"]\nallow_peer", 1)+"[log]\nlevel = \"warn\"\n")
			fallthrough
		case 1500, 2500:
			if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
		c.send(append(stun.AppendChannelDataHeader(nil, 0x4000, 4), binary.BigEndian.AppendUint32(nil, n)...))
	}
	want := uint32(0)
	for got := range received {
		if got != want {
			t.Fatalf("packet %d, want %d", got, want)
		}
		want++
	}
	if want != packets {
		t.Errorf("%d packets arrived, want %d", want, packets)
	}
	if after := scrape(t, r.ready.Metrics, "turnd_drops_total"); after != dropsBefore {
		t.Errorf("drops before\n%s\nafter\n%s", dropsBefore, after)
	}

	eventually(t, "the rule takes permission and channel back", func() bool {
		return scrape(t, r.ready.Metrics, "turnd_revoked_total") == "turnd_revoked_total 2"
	})
	if code := c.bind(0x4002, denied); code != stun.CodeForbidden {
		t.Errorf("the denied peer: got %v, want 403", code)
	}
	if exit := check(url, "--udp", "--pass", password); exit != 10 {
		t.Errorf("credentials of the old secret: exit code %d, want 10", exit)
	}
	url, password = minted("south")
	if exit := check(url, "--udp", "--pass", password); exit != 0 {
		t.Errorf("credentials of the new secret: exit code %d", exit)
	}
	if exit := check("turns:w@"+r.ready.TLS[0].String(), "--pass", "x", "--ca", cert); exit != 0 {
		t.Errorf("the new user, over the new certificate: exit code %d", exit)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ends(t, cmd)
}

// A reload puts the metrics on another address and changes the log; what cannot be listened on changes nothing.
func TestReloadMovesMetrics(t *testing.T) {
	admin := adminFlags(t)
	conf := filepath.Join(t.TempDir(), "turnd.toml")
	write := func(metrics, level string) {
		t.Helper()
		text := "[metrics]\nlisten = \"" + metrics + "\"\n[log]\nlevel = \"" + level + "\"\n"
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reload := func(want int) string {
		t.Helper()
		exit, out, errOut := command(t, append([]string{"reload"}, admin...)...)
		if exit != want {
			t.Errorf("exit code %d, want %d: %s%s", exit, want, out, errOut)
		}
		return out + errOut
	}
	write("127.0.0.1:0", "warn")
	r := start(t, onLoopback(t, append(admin, "--config", conf)...)...)
	old := r.ready.Metrics
	write(old, "debug") // its own address: taken
	if text := reload(3); !strings.Contains(text, "address already in use") {
		t.Errorf("got %s", text)
	}
	scrape(t, old, "x")
	write("localhost:0", "debug")
	if text := reload(0); strings.Contains(text, "restart") {
		t.Errorf("got %s", text)
	}
	eventually(t, "the old address is left", func() bool {
		resp, err := http.Get("http://" + old + "/metrics")
		if err == nil {
			resp.Body.Close()
		}
		return err != nil
	})
	write("", "info")
	if text := reload(0); strings.Contains(text, "restart") {
		t.Errorf("got %s", text)
	}
	r.stop()
	if log := r.stderr.String(); strings.Count(log, `"msg":"reloaded"`) != 2 {
		t.Errorf("the level did not change: %s", log)
	}
}
