package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"traverse.internal/config"
	"traverse.internal/connmgr"
	"traverse.internal/core/ice"
	"traverse.internal/core/mux"
	"traverse.internal/dht"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/dashboard"
	"traverse.internal/internal/relayadmin"
	"traverse.internal/metrics"
	"traverse.internal/service"
	"traverse.internal/signalling"
	"traverse.internal/signalling/relay"
	"traverse.internal/transfer"
	"traverse.internal/transfer/store"
	"traverse.internal/turn"
)

// Config is everything a Daemon is told. Zero values mean the default in brackets.
type Config struct {
	Home Home
	Name string // what this device is called [its short id]

	Timeout  time.Duration // of a call to another device, for its answer [30s, on Mainline 75s]
	Patience time.Duration // of a call to a device that has published nothing that holds [10s]

	DHT         DHTConfig
	Policy      ice.Policy
	Without     ice.Rungs     // kinds of ways that are not used [none]
	UDPFirst    bool          // UDP has the head start over TCP
	RelayAfter  time.Duration // head start of direct paths [150 ms]
	RelayUDP    bool          // UDP ports of relays are borrowed in every call
	Repunch     connmgr.Repunch
	TCPOnly     bool          // paths do without UDP
	NoUpgrade   bool          // sessions stay on the relayed path they began on
	Warm        time.Duration // how long the relayed link is kept after a move to a direct one [10 min; negative: not at all]
	Relays      []RelayConfig
	STUN        []string      // host:port of servers that say over UDP how they see this device, besides the relays [none]
	Addrs       []netip.Addr  // addresses for paths [those of the interfaces; only the loopback ones where the DHT listens on loopback]
	Port        uint16        // TCP port for paths [any]
	LAN         bool          // look for contacts on the link by multicast DNS, and be found there [no]
	NoPush      bool          // no signalling through relays
	PortMapping bool          // ask the router for a port that leads to ours [no]
	Accept      Accept        // [AcceptAsk]
	Downloads   string        // [Home.Downloads]
	MinFree     int64         // bytes that must stay free in Downloads [0]
	NoSync      bool          // do not fsync received files
	MaxParallel int           // transfers whose bytes are being sent at once [4]
	Metrics     string        // host:port of /metrics [none]
	WebConfig   string        // file that says who may read /metrics, and with which certificate [plain HTTP, everybody]
	Dashboard   string        // loopback host:port of the status page [none]
	Turnd       *turn.Config  // embedded relay [none]
	DrainGrace  time.Duration // how long transfers may go on when Serve's context ends [not at all: they pause]
	Operate     *Operation    // [it runs as it began]
	Mux         mux.Config    // session limits and times
	Log         *slog.Logger  // [none]
}

// DHTConfig says which DHT and where.
type DHTConfig struct {
	Private   bool // a DHT of one's own nodes; else BitTorrent's Mainline
	Listen    netip.AddrPort
	Bootstrap []string // host:port of nodes to begin with [none in a private DHT, well-known ones on Mainline]
	SlotsOnly bool     // never ask a contact at its address: what the slots alone can do is measured so

	republish time.Duration // of presence, for tests
}

// RelayConfig is a relay and the secret for it.
type RelayConfig struct {
	URL      RelayURL
	Password string
}

// Daemon is one running node. New opens everything that can fail, Serve runs it.
type Daemon struct {
	cfg       Config
	self      identity.DeviceID
	began     time.Time
	log       *slog.Logger
	lock      *lock
	contacts  *Contacts
	device    *identity.Device
	account   account
	twin      twin
	sharing   sharing     // of contacts with the account's other devices
	signing   sync.Mutex  // held while the account's next list is made
	rotating  sync.Mutex  // held while the device's key is renewed
	again     atomic.Bool // the device has a new key: Serve ends with ErrAgain
	inviting  sync.Mutex  // held while the account is made, and while somebody joins
	downloads *transfer.Dir
	dht       *dht.Node
	courier   *dht.Courier
	signaler  *signalling.Signaler
	push      *relay.Route // nil: no signalling through relays
	secrets   *signalling.Secrets
	neighbors neighbors // signalling on the link
	endpoint  *ice.Endpoint
	mappings  []mapping // of ports at the router; none where that is off
	manager   *connmgr.Manager
	turnd     *turn.Server         // nil without an embedded relay
	operator  *relayadmin.Operator // of the relay; nil: none
	rules     atomic.Pointer[rules]
	drain     drain
	benching  atomic.Bool   // a contact measures
	reloading sync.Mutex    // one reload at a time; guards conf
	conf      config.Config // in force
	admin     net.Listener  // of the operator; nil: none
	metrics   *metrics.Server
	dashboard *dashboard.Server // nil: none
	api       net.Listener
	table     *table
	transfers string // folder of the store and the journals
	store     *store.Store
	sums      *sums
	places    *places // of transfers that are being sent
	lanes     lanes
	notices   notices
	known     sumCache // SHA3-256 of what was asked for
	counters  transfer.Counters
	events    eventRing
	logged    eventLog // connections
	asked     eventLog // what devices ask for
	lastLines *logRing
	seen      *sightings
	followers atomic.Int32 // of events
	services  service.Table
	saved     *saved
	forwards  forwards
	listeners listeners
	served    perPeer // channels of services and pipes
	listens   perPeer // ports that contacts have this side listen on

	ctx    context.Context // of everything that Serve runs; ends with Serve
	cancel context.CancelFunc
	tasks  sync.WaitGroup // transfers and echoes
	taskMu sync.Mutex     // guards noMore; held while a task is added that no other task starts
	noMore bool           // the tasks are waited for
	opened []func()       // undoes what New opened, last first
}

// New opens the home and everything the daemon listens on. Its errors are *cli.Error.
func New(cfg Config) (_ *Daemon, err error) {
	cfg = cfg.withDefaults()
	lastLines := new(logRing)
	cfg.Log = lastLines.tee(cfg.Log)
	d := &Daemon{lastLines: lastLines, cfg: cfg, began: time.Now(), log: cfg.Log, table: new(table), sums: newSums(), places: newPlaces(cfg.MaxParallel), notices: notices{moved: make(chan struct{}, 1)}, served: perPeer{limit: maxServices}, listens: perPeer{limit: maxListens}}
	d.rules.Store(rulesOf(cfg))
	if cfg.Operate != nil {
		d.conf = cfg.Operate.Conf
	}
	d.table.notify = func(t Transfer) {
		d.events.publish(Event{Type: EventTransfer, Peer: &t.Peer, Path: t.Path, Transfer: &t})
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	d.ctx, d.cancel = ctx, func() { cancel(errGoingDown) }
	d.undo(d.cancel)
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	device, err := d.openHome()
	if err != nil {
		return nil, err
	}
	if err := d.openNetwork(device); err != nil {
		return nil, err
	}
	if err := d.openTurnd(); err != nil {
		return nil, err
	}
	if err := d.openMetrics(); err != nil {
		return nil, err
	}
	if err := d.openDashboard(); err != nil {
		return nil, err
	}
	// The socket comes last: who can dial it finds everything else up.
	if d.api, err = listenSocket(cfg.Home.Socket); err != nil {
		return nil, err
	}
	d.undo(func() { d.api.Close() })
	d.operateTurnd()
	return d, nil
}

func (c Config) withDefaults() Config {
	if c.Accept == "" {
		c.Accept = AcceptAsk
	}
	if c.Downloads == "" {
		c.Downloads = c.Home.Downloads
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// undo notes how to close what New has just opened.
func (d *Daemon) undo(f func()) { d.opened = append(d.opened, f) }

func (d *Daemon) close() {
	for i := len(d.opened) - 1; i >= 0; i-- {
		d.opened[i]()
	}
	d.opened = nil
}

// openHome takes the lock, the key, the contacts and the download folder.
func (d *Daemon) openHome() (*identity.Device, error) {
	h := d.cfg.Home
	var err error
	if d.lock, err = lockHome(h); err != nil {
		e := cli.Errorf("E_CONFIG", "cannot use the home %s", h.State).Because(err)
		if errors.Is(err, errLocked) {
			e.Hint("a node runs there already: see `node status`; or use another --home")
		} else {
			e.Hint("check the permissions, or use another --home")
		}
		return nil, e
	}
	d.undo(d.lock.release)
	device, err := identity.Load(h.Identity)
	if err != nil {
		return nil, explainIdentity(err, h)
	}
	if d.contacts, err = LoadContacts(h); err != nil {
		return nil, err
	}
	if device, err = settleRotation(h, device, d.contacts); err != nil {
		return nil, err
	}
	d.self = device.ID()
	if d.cfg.Name == "" {
		d.cfg.Name = d.self.Short()
	}
	d.device, d.seen = device, loadSeen(h)
	d.contacts.adoptChanges(d.self)
	if err := d.openAccount(); err != nil {
		return nil, err
	}
	if d.saved, err = loadSaved(h); err != nil {
		return nil, err
	}
	// The folder's path is shown to programs that run elsewhere.
	folder, err := filepath.Abs(d.cfg.Downloads)
	if err == nil {
		d.downloads, err = transfer.OpenDir(folder)
	}
	if err != nil {
		return nil, cli.Errorf("E_LOCAL_IO", "cannot use the download folder %s", d.cfg.Downloads).Because(err).
			Hint("name another: --download-dir DIR")
	}
	d.undo(func() { _ = d.downloads.Close() })
	if err := d.openTransfers(); err != nil {
		return nil, err
	}
	return device, nil
}

// Serve runs the daemon until ctx ends or a part fails. It returns after everything it started has ended. It runs once. ErrAgain asks for another Daemon in its place.
func (d *Daemon) Serve(ctx context.Context) error {
	defer d.close()
	stop := context.AfterFunc(ctx, func() { d.Drain(d.rules.Load().grace) })
	defer stop()
	partsCtx, endParts := context.WithCancel(context.Background())
	defer endParts()
	defer context.AfterFunc(d.ctx, func() { d.goDown(endParts) })()
	parts := []part{
		{"DHT", d.watchDHT},
		{"connection manager", d.manager.Serve},
		{"home", d.watchHome},
		{"account", d.renewLoop},
		{"local API", func(ctx context.Context) error { return serveAPI(ctx, d.api, d.handler()) }},
	}
	if d.turnd != nil {
		parts = append(parts, part{"relay", d.turnd.Serve})
	}
	parts = append(parts, d.operatorParts()...)
	if d.metrics != nil {
		parts = append(parts, part{"metrics", d.metrics.Serve})
	}
	if d.dashboard != nil {
		parts = append(parts, part{"dashboard", d.dashboard.Serve})
	}
	results := make(chan error, len(parts))
	for _, p := range parts {
		go func() { results <- d.runPart(partsCtx, p) }()
	}
	d.startSaved()
	d.spawn(d.acceptLoop)
	d.spawn(func() { d.endpoint.Follow(d.ctx) })
	if d.push != nil {
		d.spawn(d.followNetwork)
	}
	for _, m := range d.mappings {
		d.spawn(func() { _ = m.Serve(d.ctx) })
	}
	d.spawn(d.sumLoop)
	d.spawn(d.tellLoop)
	d.startTransfers()
	if built, behind := cli.ClockBehind(time.Now()); behind {
		d.log.Warn("the clock is wrong: this program was made later than now; contacts refuse what this device signs", "now", time.Now().UTC(), "made", built.UTC(), "try", "timedatectl set-ntp true")
	}
	d.log.Info("node is up", "device", d.self.String(), "dht", d.dht.Addr().String(), "socket", d.cfg.Home.Socket)
	var first error
	for range parts {
		if err := <-results; err != nil && first == nil {
			first = err
		}
		d.cancel() // one part's end is everybody's
	}
	d.waitTasks()
	<-d.manager.Done()
	d.storeSeen()
	d.log.Info("node is down")
	if first == nil && ctx.Err() == nil && d.again.Load() {
		return ErrAgain
	}
	return first
}

// partingTime is how long a transfer may take to tell its peer that it is over. With a session's good-bye, a second at
// most, a node is down within two.
const partingTime = 500 * time.Millisecond

// goDown ends things in the order in which they need each other: the transfers, each with a word to its peer, then the
// sessions, then the parts: what carried them, and the API, so that who follows a transfer is told how it ended.
func (d *Daemon) goDown(endParts func()) {
	late := time.AfterFunc(partingTime, func() { _ = d.manager.Close() })
	defer late.Stop()
	d.waitTasks()
	_ = d.manager.Close()
	endParts()
}

// spawn runs a task that no other task starts. It says no when the daemon goes down.
func (d *Daemon) spawn(task func()) bool {
	d.taskMu.Lock()
	defer d.taskMu.Unlock()
	if d.noMore || d.ctx.Err() != nil {
		return false
	}
	d.tasks.Go(task)
	return true
}

// waitTasks returns when the last task has ended. Only after the end of d.ctx.
func (d *Daemon) waitTasks() {
	d.taskMu.Lock() // a spawn that began before has added its task
	d.noMore = true
	d.taskMu.Unlock()
	d.tasks.Wait()
}

// part is a worker and its name.
type part struct {
	name  string
	serve func(context.Context) error
}

// runPart runs a worker; its end is an error unless the daemon is going down.
func (d *Daemon) runPart(ctx context.Context, p part) error {
	err := p.serve(ctx)
	if d.ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("ended by itself")
	}
	if told := (*cli.Error)(nil); errors.As(err, &told) {
		return told
	}
	return cli.Errorf("E_UNEXPECTED", "the %s stopped", p.name).Because(err)
}

// watchDHT ends when the DHT node does: it runs by itself from New on.
func (d *Daemon) watchDHT(ctx context.Context) error {
	select {
	case <-d.dht.Done():
		return d.dht.Err()
	case <-ctx.Done():
		return nil
	}
}

// ID is the device's id.
func (d *Daemon) ID() identity.DeviceID { return d.self }

// AddContact notes a device under a name, and tells the account's other devices.
func (d *Daemon) AddContact(name, device string) (ContactObject, error) {
	o, err := addContact(d.contacts, d.self, name, device)
	if err == nil {
		d.shareContacts()
	}
	return o, err
}
