package testnet

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"traverse.internal/connmgr"
	"traverse.internal/core/ice"
	"traverse.internal/core/portmap"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
	"traverse.internal/turn"
)

// A station is this test binary once more, as a process at a host: a relay, or a device with the product's connection
// manager and paths. What the DHT would carry goes through its standard input and output instead, so that the table is
// about paths alone: an offer is the same bytes whatever carried it.

const stationEnv = "TESTNET_STATION"

var update = flag.Bool("update", false, "write the table of the run to docs/reach.md")

// updateEnv takes the flag to the process with the network of its own.
const updateEnv = "TESTNET_UPDATE"

// labsAtOnce is how many tests run at a time, where -parallel does not say so. Each is a process that mostly waits: on two processors these five take
// a third of the time of one after the other.
const labsAtOnce = "5"

// TestMain lets the binary be a station.
func TestMain(m *testing.M) {
	spec := os.Getenv(stationEnv)
	if spec == "" {
		os.Exit(tests(m))
	}
	var plan plan
	err := json.Unmarshal([]byte(spec), &plan)
	if err == nil && plan.Relay != nil {
		err = beRelay(plan)
	} else if err == nil && plan.Router != nil {
		err = beRouter(plan.Router)
	} else if err == nil && plan.Ports != nil {
		err = beMapped(plan.Ports)
	} else if err == nil {
		err = beDevice(plan)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "station:", err)
		os.Exit(1)
	}
}

// scratch is a folder for what tests have in common.
var scratch string

// tests runs them.
func tests(m *testing.M) int {
	err := flag.Set("test.parallel", labsAtOnce) // before the command line is read, which is stronger
	if err == nil {
		scratch, err = os.MkdirTemp("", "testnet")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	flag.Parse()
	if *update {
		os.Setenv(updateEnv, "1")
	}
	return m.Run()
}

// plan says what a station is.
type plan struct {
	Relay  []netip.AddrPort // listen here, and relay from these addresses
	Push   bool             // a relay that pushes
	NoTCP  bool             // a relay that lends UDP ports only
	Server string           // a device's relay; "" is none
	Router *routerPlan      // a router that maps ports
	Policy ice.Policy
	Map    bool // ask the router for a port
	Ports  []port
}

// message is what stations and the test tell each other, a line of JSON each.
type message struct {
	Kind   string // "ready", "connect", "connected", "flow", "stop", "flowed", "count", "counted", "path", "call", "request", "answer"
	ID     uint64 // of a call: the caller's number, or the one that the test gave the request
	Device identity.DeviceID
	Offer  []byte        `json:",omitempty"`
	Route  ice.Route     `json:",omitzero"`
	Setup  time.Duration `json:",omitempty"`
	Reason reason.Code   `json:",omitempty"`
	Bytes  int64         `json:",omitempty"` // of a flow
	Error  string        `json:",omitempty"`
	Mapped []mappedTo    `json:",omitempty"` // of ports
}

// patience is for what should happen; only a test that fails waits so long.
const patience = 2 * time.Minute

// wire is one end of a station's standard input and output.
type wire struct {
	in  *bufio.Reader
	mu  sync.Mutex
	out io.Writer
}

func (w *wire) write(m message) {
	line, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = w.out.Write(append(line, '\n'))
}

func (w *wire) read() (m message, err error) {
	line, err := w.in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &m)
	}
	return m, err
}

// relayUser and relayPassword are good at the relay.
const relayUser, relayPassword = "u", "p"

func beRelay(p plan) error {
	listen := p.Relay
	cfg := turn.Config{Push: p.Push, ListenTCP: listen, ListenUDP: listen, Users: map[string]string{relayUser: relayPassword}, OwnRelays: true, NoTCPRelays: p.NoTCP}
	for _, a := range listen {
		if a.Addr().Is4() {
			cfg.RelayIP4 = a.Addr()
		} else {
			cfg.RelayIP6 = a.Addr()
		}
	}
	srv, err := turn.New(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &wire{in: bufio.NewReader(os.Stdin), out: os.Stdout}
	go func() {
		w.write(message{Kind: "ready"})
		_, _ = w.read()
		cancel()
	}()
	return srv.Serve(ctx)
}

// device is a station that is a device. It is the Signaler of its own manager.
type device struct {
	*wire
	m *connmgr.Manager

	mu    sync.Mutex
	next  uint64
	calls map[uint64]chan message
	serve chan message
	stop  chan struct{} // ends the flow
	back  atomic.Int64  // bytes of the flow that have come back
}

func beDevice(p plan) error {
	id, err := identity.New()
	if err != nil {
		return err
	}
	cfg := ice.Config{Policy: p.Policy}
	if p.Server != "" {
		cfg.Relays = []ice.Relay{{Server: p.Server, Username: relayUser, Password: relayPassword}}
	}
	var mapper *portmap.Mapper
	if p.Map {
		cfg.Mapped = func() (netip.AddrPort, ice.Mapping) {
			at, how := mapper.Mapped()
			return at, map[portmap.How]ice.Mapping{portmap.PCP: ice.MapPCP, portmap.NATPMP: ice.MapPMP, portmap.UPnP: ice.MapUPnP}[how]
		}
	}
	e, err := ice.Listen(cfg)
	if err != nil {
		return err
	}
	if p.Map {
		mapper = portmap.New(portmap.Config{Port: e.Port()})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- mapper.Serve(ctx) }()
		defer func() {
			cancel()
			<-ended
		}()
		for tries := time.NewTicker(10 * time.Millisecond); ; <-tries.C {
			if at, _ := mapper.Mapped(); at.IsValid() {
				break
			}
			if err := mapper.Err(); err != nil {
				return err
			}
		}
	}
	if p.Server != "" {
		if _, err := e.Learn(context.Background()); err != nil {
			return err
		}
	}
	d := &device{
		wire:  &wire{in: bufio.NewReader(os.Stdin), out: os.Stdout},
		calls: map[uint64]chan message{}, serve: make(chan message, 64), stop: make(chan struct{}),
	}
	d.m = connmgr.New(connmgr.Config{
		Device: id, Signaler: d, Paths: connmgr.ICE{Endpoint: e},
		Allowed: func(identity.DeviceID) bool { return true }, Observe: d.observe,
	})
	go func() { _ = d.m.Serve(context.Background()) }()
	go d.echo()
	d.write(message{Kind: "ready", Device: id.ID()})
	for {
		m, err := d.read()
		if err != nil {
			return d.m.Close() // the test is over
		}
		switch m.Kind {
		case "connect":
			go d.connect(m)
		case "flow":
			go d.flow(m)
		case "stop":
			close(d.stop)
		case "count":
			d.write(message{Kind: "counted", Bytes: d.back.Load()})
		case "request":
			d.serve <- m
		case "answer":
			d.mu.Lock()
			wait := d.calls[m.ID]
			delete(d.calls, m.ID)
			d.mu.Unlock()
			if wait != nil {
				wait <- m
			}
		}
	}
}

// connect makes a session with the device and sends something there and back.
func (d *device) connect(m message) {
	began := time.Now()
	out := message{Kind: "connected", ID: m.ID, Device: m.Device}
	ch, info, err := d.m.ConnectWith(context.Background(), m.Device, "echo", connmgr.Options{Timeout: 30 * time.Second})
	out.Route, out.Setup = d.settled(info), time.Since(began)
	if err == nil {
		var b [4]byte
		if _, err = ch.Write([]byte("ping")); err == nil {
			_, err = io.ReadFull(ch, b[:])
		}
		ch.Close()
	}
	if err != nil {
		out.Error, out.Reason = err.Error(), reason.Of(err)
	}
	d.write(out)
}

// settled is a session's route with the reason that the attempt gave, where the session says that a direct path is still being tried.
func (d *device) settled(info connmgr.Info) ice.Route {
	info.Route.Reason = info.Found
	return info.Route
}

// echo answers what other devices send, and tells the test which way they came.
func (d *device) echo() {
	for {
		in, err := d.m.Accept(context.Background())
		if err != nil {
			return
		}
		ch, err := in.Accept()
		if err != nil {
			continue
		}
		d.write(message{Kind: "accepted", Device: in.Peer, Route: d.settled(in.Info)})
		go func() {
			_, _ = io.Copy(ch, ch)
			_ = ch.CloseWrite()
		}()
	}
}

// Call asks by way of the test.
func (d *device) Call(ctx context.Context, peer identity.DeviceID, offer []byte) ([]byte, error) {
	wait := make(chan message, 1)
	d.mu.Lock()
	d.next++
	id := d.next
	d.calls[id] = wait
	d.mu.Unlock()
	d.write(message{Kind: "call", ID: id, Device: peer, Offer: offer})
	select {
	case m := <-wait:
		return m.Offer, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Serve answers what comes by way of the test.
func (d *device) Serve(ctx context.Context, handle func(context.Context, identity.DeviceID, []byte) ([]byte, error)) error {
	for {
		select {
		case m := <-d.serve:
			go func() {
				if answer, err := handle(ctx, m.Device, m.Offer); err == nil {
					d.write(message{Kind: "answer", ID: m.ID, Offer: answer})
				}
			}()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
