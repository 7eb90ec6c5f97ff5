package testnet

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"traverse.internal/core/ice"
	"traverse.internal/core/portmap"
	"traverse.internal/identity"
	"traverse.internal/internal/netlab"
)

// world is an Internet with a relay and stations, and carries their offers.
type world struct {
	*Internet
	relay   []netip.Addr
	site    *Site
	relayed *station // the relay's process
	noTCP   bool     // it lends UDP ports only

	mu       sync.Mutex
	stations map[identity.DeviceID]*station
	asked    map[uint64]asked // requests that wait for their answer
	next     uint64
}

type asked struct {
	by *station
	id uint64 // the caller's number
}

// station is a process at a host.
type station struct {
	*wire
	name   string
	id     identity.DeviceID
	close  func() error
	proc   *os.Process
	said   *tail
	dead   bool          // the test killed it
	counts chan message  // answers to "count"
	gone   chan struct{} // closed when it says no more

	mu      sync.Mutex
	results map[identity.DeviceID]chan message // of connects, by the other device
	taken   map[identity.DeviceID]chan message // the same sessions as the other device sees them
}

func newWorld(t *testing.T) *world {
	w := &world{Internet: New(t), stations: map[identity.DeviceID]*station{}, asked: map[uint64]asked{}}
	site := w.Site(t, Public, 1)
	w.site, w.relay = site, site.Addrs[0]
	w.startRelay(t)
	return w
}

// startRelay starts the relay's process, once more where it was killed.
func (w *world) startRelay(t *testing.T) {
	t.Helper()
	var listen []netip.AddrPort
	for _, a := range w.relay {
		listen = append(listen, netip.AddrPortFrom(a, 3478), netip.AddrPortFrom(a, 443))
	}
	w.relayed = w.start(t, "relay", w.site.Hosts[0], plan{Relay: listen, NoTCP: w.noTCP})
}

// server is the relay's address as a host of that kind reaches it.
func (w *world) server(k Kind) string {
	addr, port := w.relay[0], uint16(3478)
	if k == IPv6Only {
		addr = w.relay[1]
	}
	if k == HTTPSOnly || k == Filtered {
		port = 443
	}
	return netip.AddrPortFrom(addr, port).String()
}

// device starts a device at a host of a site.
func (w *world) device(t *testing.T, name string, s *Site, host int) *station {
	t.Helper()
	if s.Kind == Mapping {
		w.router(t, s, portmap.PCP)
	}
	return w.start(t, name, s.Hosts[host], plan{Server: w.server(s.Kind), Policy: ice.Auto, Map: s.Kind == Mapping})
}

// router lets a site's router map ports.
func (w *world) router(t *testing.T, s *Site, how portmap.How) {
	t.Helper()
	w.start(t, "router", s.Router, plan{Router: &routerPlan{How: how, Inside: netip.MustParseAddr("192.168.1.1"), Outside: s.Outside}})
}

func (w *world) start(t *testing.T, name string, at *netlab.Host, p plan) *station {
	t.Helper()
	spec, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), stationEnv+"="+string(spec))
	cmd.Stderr = &tail{}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	at.Start(t, cmd)
	s := &station{
		wire: &wire{in: bufio.NewReader(out), out: in}, name: name,
		results: map[identity.DeviceID]chan message{}, taken: map[identity.DeviceID]chan message{}, counts: make(chan message, 1), gone: make(chan struct{}),
	}
	s.close = sync.OnceValue(func() error {
		in.Close()
		defer netlab.Bound(cmd.Process, patience)()
		return cmd.Wait()
	})
	s.said, s.proc = cmd.Stderr.(*tail), cmd.Process
	t.Cleanup(func() { s.end(t) })
	unbound := netlab.Bound(cmd.Process, patience)
	m, err := s.read()
	unbound()
	if err != nil || m.Kind != "ready" {
		_ = s.close() // and with it all that it has to say
		s.dead = true
		t.Fatalf("%s is not ready: %v %v\n%s", name, m, err, s.said)
	}
	s.id = m.Device
	w.mu.Lock()
	w.stations[s.id] = s
	w.mu.Unlock()
	go w.carry(s)
	return s
}

// end ends a station and waits for it.
func (s *station) end(t *testing.T) {
	t.Helper()
	if err := s.close(); err != nil && !s.dead {
		t.Errorf("%s: %v\n%s", s.name, err, s.said)
	}
}

// kill ends it without a word to anybody, and waits for it.
func (s *station) kill(t *testing.T) {
	t.Helper()
	s.dead = true
	s.signal(t, syscall.SIGKILL)
	_ = s.close()
}

func (s *station) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.proc.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// carry takes what a station says to where it belongs.
func (w *world) carry(s *station) {
	defer close(s.gone)
	for {
		m, err := s.read()
		if err != nil {
			return
		}
		switch m.Kind {
		case "call":
			w.mu.Lock()
			to := w.stations[m.Device]
			w.next++
			id := w.next
			w.asked[id] = asked{s, m.ID}
			w.mu.Unlock()
			to.write(message{Kind: "request", ID: id, Device: s.id, Offer: m.Offer})
		case "answer":
			w.mu.Lock()
			a := w.asked[m.ID]
			delete(w.asked, m.ID)
			w.mu.Unlock()
			a.by.write(message{Kind: "answer", ID: a.id, Device: s.id, Offer: m.Offer})
		case "connected", "flowed", "path":
			s.keep(s.channel(s.results, m.Device), m)
		case "ports":
			s.keep(s.channel(s.results, s.id), m)
		case "counted":
			s.keep(s.counts, m)
		case "accepted":
			s.keep(s.channel(s.taken, m.Device), m)
		}
	}
}

func (s *station) channel(of map[identity.DeviceID]chan message, id identity.DeviceID) chan message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if of[id] == nil {
		of[id] = make(chan message, keepMost)
	}
	return of[id]
}

// keepMost is how much of what a station says of another may wait for the test.
const keepMost = 64

// keep never waits, as other devices wait for what the station says next.
func (s *station) keep(in chan message, m message) {
	select {
	case in <- m:
	default:
		fmt.Fprintf(s.said, "the test does not take what it says: %+v\n", m)
	}
}

// await is the next that a station says; one that has ended, or says nothing within patience, has said an error.
func (s *station) await(said <-chan message) message {
	var why string
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case m := <-said:
		return m
	case <-limit.C:
		_ = s.proc.Signal(syscall.SIGQUIT) // it says where it is
		select {
		case <-s.gone:
		case <-time.After(partingTime):
		}
		why = fmt.Sprintf("it has said nothing for %v", patience)
	case <-s.gone:
		select {
		case m := <-said: // its last
			return m
		default:
		}
		_ = s.close() // and with it all that it has to say
		why = "it has ended"
	}
	return message{Kind: "gone", Error: fmt.Sprintf("%s: %s, and is waited for\n%s", s.name, why, s.said)}
}

// partingTime is what a station has to say where it is.
const partingTime = 5 * time.Second

// connect lets s call to, and returns what each of them says of the session; taken is zero where there is none.
func (s *station) connect(to *station) (result, taken message) {
	s.write(message{Kind: "connect", Device: to.id})
	said := s.channel(s.results, to.id)
	for result = s.await(said); result.Kind == "path"; { // of a session before
		result = s.await(said)
	}
	if result.Error == "" {
		taken = to.await(to.channel(to.taken, s.id))
	}
	return result, taken
}

// tailMost is how much of it: the stacks of a station.
const tailMost = 32 << 10

// tail keeps the end of what a process says.
type tail struct {
	mu   sync.Mutex
	said []byte
}

func (w *tail) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, b...)
	w.said = w.said[max(0, len(w.said)-tailMost):]
	return len(b), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(string(w.said))
}
