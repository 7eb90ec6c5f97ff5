package k8s

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pion/logging"
	pionturn "github.com/pion/turn/v2"

	"traverse.internal/turn"
)

const fleetSecret = "a secret of all relays"

// A replica is one turnd as overlays/balanced runs it, on loopback.
type replica struct {
	cmd     *exec.Cmd
	udp     *net.UDPAddr
	metrics string
	exited  chan error
}

func startReplica(t *testing.T, program, dir string) *replica {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "run", "--json", "--config", "overlays/balanced/turnd.toml",
		"--listen-udp", "127.0.0.1:0", "--listen-tcp", "127.0.0.1:0", "--relay-ip4", "127.0.0.1", "--allow-peer", "127.0.0.0/8",
		"--metrics", "127.0.0.1:0",
		"--auth-secret-file", filepath.Join(dir, "secret"), "--fleet-key-file", filepath.Join(dir, "fleet-key"))
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR=") // no admin socket
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &replica{cmd: cmd, exited: make(chan error, 1)}
	var ready struct {
		UDP     []netip.AddrPort
		Metrics string
	}
	err = json.NewDecoder(out).Decode(&ready)
	go func() {
		_, _ = io.Copy(io.Discard, out)
		r.exited <- cmd.Wait()
	}()
	if err != nil || len(ready.UDP) == 0 {
		t.Fatalf("it did not start: %v, %v", err, <-r.exited)
	}
	r.udp, r.metrics = net.UDPAddrFromAddrPort(ready.UDP[0]), ready.Metrics
	return r
}

// ready is what the readiness probe of the base asks.
func (r *replica) ready() bool {
	res, err := http.Get("http://" + r.metrics + "/ready")
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// allocations reads the metric that the autoscaler goes by.
func (r *replica) allocations(t *testing.T) (sum int) {
	t.Helper()
	res, err := http.Get("http://" + r.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && strings.HasPrefix(name, "turnd_allocations{") {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(line, err)
			}
			sum += n
		}
	}
	return sum
}

// A balancer is the simplest there is: a new client goes to the next replica that is ready, and stays there. To a replica
// every client is a socket of the balancer's.
type balancer struct {
	front    *net.UDPConn
	replicas []*replica
	flows    sync.WaitGroup

	mu    sync.Mutex
	next  int
	backs map[netip.AddrPort]*net.UDPConn
}

func balance(t *testing.T, replicas ...*replica) *balancer {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{front: front, replicas: replicas, backs: make(map[netip.AddrPort]*net.UDPConn)}
	b.flows.Add(1)
	go b.serve()
	t.Cleanup(func() {
		front.Close()
		b.mu.Lock()
		for _, back := range b.backs {
			back.Close()
		}
		b.mu.Unlock()
		b.flows.Wait()
	})
	return b
}

func (b *balancer) serve() {
	defer b.flows.Done()
	buf := make([]byte, 1<<16)
	for {
		n, client, err := b.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if back := b.backOf(client); back != nil {
			_, _ = back.Write(buf[:n])
		}
	}
}

func (b *balancer) backOf(client netip.AddrPort) *net.UDPConn {
	b.mu.Lock()
	defer b.mu.Unlock()
	if back := b.backs[client]; back != nil {
		return back
	}
	for range b.replicas {
		r := b.replicas[b.next%len(b.replicas)]
		b.next++
		if !r.ready() {
			continue
		}
		back, err := net.DialUDP("udp", nil, r.udp)
		if err != nil {
			return nil
		}
		b.backs[client] = back
		b.flows.Add(1)
		go b.back(back, client)
		return back
	}
	return nil
}

func (b *balancer) back(back *net.UDPConn, client netip.AddrPort) {
	defer b.flows.Done()
	buf := make([]byte, 1<<16)
	for {
		n, err := back.Read(buf)
		if err != nil {
			return
		}
		_, _ = b.front.WriteToUDPAddrPort(buf[:n], client)
	}
}

// A session is a client of the fleet with an allocation, whoever of them gave it.
type session struct {
	client *pionturn.Client
	relay  net.PacketConn
}

func allocate(t *testing.T, server, user string) *session {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	name, password := turn.Mint(fleetSecret, user, time.Now().Add(time.Hour))
	client, err := pionturn.NewClient(&pionturn.ClientConfig{
		STUNServerAddr: server, TURNServerAddr: server, Username: name, Password: password, Realm: "traverse", Conn: conn,
		LoggerFactory: &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	relay, err := client.Allocate()
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	s := &session{client, relay}
	t.Cleanup(s.end)
	return s
}

func (s *session) end() {
	_ = s.relay.Close()
	s.client.Close()
}

// alive says whether what is sent to the echo comes back.
func (s *session) alive(echo net.Addr) error {
	buf := make([]byte, 1500)
	for i := range 5 {
		want := fmt.Appendf(nil, "still here %d", i)
		if _, err := s.relay.WriteTo(want, echo); err != nil {
			return err
		}
		_ = s.relay.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, _, err := s.relay.ReadFrom(buf)
		if err != nil {
			return err
		}
		if !bytes.Equal(buf[:n], want) {
			return fmt.Errorf("got %q, want %q", buf[:n], want)
		}
	}
	return nil
}

// TestFleetDrains: two relays behind a balancer, with the settings of overlays/balanced. One drains: its sessions live, new
// clients come to the other, and it ends when its last session has.
func TestFleetDrains(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "turnd")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/turnd").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, text := range map[string]string{"secret": fleetSecret, "fleet-key": "a key of all relays"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	echo, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := echo.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = echo.WriteTo(buf[:n], from)
		}
	}()

	stays, goes := startReplica(t, program, dir), startReplica(t, program, dir)
	b := balance(t, stays, goes)
	server := b.front.LocalAddr().String()
	var old []*session
	for i := range 6 {
		s := allocate(t, server, fmt.Sprint("before-", i))
		if err := s.alive(echo.LocalAddr()); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
		old = append(old, s)
	}
	if a, b := stays.allocations(t), goes.allocations(t); a != 3 || b != 3 {
		t.Fatalf("the relays have %d and %d allocations, want 3 each", a, b)
	}

	if err := goes.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); goes.ready(); {
		if time.Now().After(deadline) {
			t.Fatal("it drains, and says that it is ready")
		}
	}
	for i := range 4 {
		if err := allocate(t, server, fmt.Sprint("while-", i)).alive(echo.LocalAddr()); err != nil {
			t.Errorf("new session %d: %v", i, err)
		}
	}
	if a, b := stays.allocations(t), goes.allocations(t); a != 7 || b != 3 {
		t.Errorf("while one drains the relays have %d and %d allocations, want 7 and 3", a, b)
	}
	for i, s := range old {
		if err := s.alive(echo.LocalAddr()); err != nil {
			t.Errorf("session %d while one drains: %v", i, err)
		}
	}
	select {
	case err := <-goes.exited:
		t.Fatalf("it ended with sessions left: %v", err)
	default:
	}
	for _, s := range old {
		s.end()
	}
	select {
	case err := <-goes.exited:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it did not end with its last session")
	}
	if !stays.ready() || stays.allocations(t) != 4 {
		t.Errorf("the other has %d allocations, want the 4 new ones", stays.allocations(t))
	}
}
