package daemon

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"traverse.internal/identity"
)

// warning is something that somebody should look at: what is wrong, and what mends it.
type warning struct{ check, level, what, fix string }

// String is the warning on one line.
func (w warning) String() string { return w.check + ": " + w.what + "; " + w.fix }

// warnings looks at what goes wrong by and by.
func (d *Daemon) warnings(now time.Time) (all []string) {
	own, _ := d.contacts.Own()
	if w := accountWarning(own.list, d.account.key != nil, now); w != nil {
		all = append(all, w.String())
	}
	if w := d.twin.warning(now); w != nil {
		all = append(all, w.String())
	}
	for _, w := range d.contacts.newDevices() {
		all = append(all, w.String())
	}
	return all
}

// listWarnBefore is how much of a device list's life is left when somebody is told: the signer has been away for half a day then, at the least.
const listWarnBefore = renewBefore - 12*time.Hour

// accountWarning is about a device list that ends with nobody signing the next. l may be nil.
func accountWarning(l *identity.DeviceList, signs bool, now time.Time) *warning {
	if l == nil {
		return nil
	}
	left := l.Expires.Sub(now)
	if left >= listWarnBefore {
		return nil
	}
	w := warning{check: "account", level: LevelWarning, fix: "start the node at the device that signs: it is marked in `node device ls` there; where it is lost, `node id import` its export on another"}
	switch {
	case left <= 0:
		w.level, w.what = LevelFailure, "the list of the account's devices ended "+l.Expires.UTC().Format(time.RFC3339)+": they and the contacts refuse each other"
	default:
		w.what = fmt.Sprintf("the list of the account's devices ends in %d hours and was not renewed: then they and the contacts refuse each other", int(left/time.Hour))
	}
	if signs {
		w.fix = "let `node up` run here: this device signs; its log says what keeps it from that"
	}
	return &w
}

// twin is another node that was seen with this device's key.
type twin struct {
	mu    sync.Mutex // guards the fields below
	seen  time.Time
	addrs []netip.AddrPort
}

// twinShown is how long after it was last seen it is told of: the longest time between two looks is 18 minutes.
const twinShown = time.Hour

// see notes one and tells whether nobody knew of it.
func (w *twin) see(now time.Time, addrs []netip.AddrPort) (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	news = w.seen.IsZero() || now.Sub(w.seen) >= twinShown
	w.seen, w.addrs = now, addrs
	return news
}

func (w *twin) warning(now time.Time) *warning {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen.IsZero() || now.Sub(w.seen) >= twinShown {
		return nil
	}
	at := make([]string, len(w.addrs))
	for i, a := range w.addrs {
		at[i] = a.String()
	}
	return &warning{
		"identity", LevelFailure, "another node runs with this device's key, at " + strings.Join(at, ", ") + ": contacts reach one or the other",
		"end one of them; a second device is one of its own: node init there, then node device link here",
	}
}

// sawTwin is told by the DHT.
func (d *Daemon) sawTwin(addrs []netip.AddrPort) {
	now := time.Now()
	if !d.twin.see(now, addrs) {
		return
	}
	w := d.twin.warning(now)
	d.log.Error("another node runs with this device's key", "at", addrs, "fix", w.fix)
	d.events.publish(Event{Type: EventWarning, What: w.String()})
}
