package conformance

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Config says which server is asked, as whom, and what the suite is told about it. What it is not told it skips.
type Config struct {
	// Servers are the addresses of one server, at most one a family. Each is asked over UDP and TCP at the same port.
	Servers []netip.AddrPort
	// Secure says that Servers listen for TLS: everything is then asked over TLS, and nothing over UDP. The certificate has to
	// be ServerName's (default: the address) under Roots (default: the system's).
	Secure bool
	// Datagrams says that Servers listen for DTLS: everything is then asked over DTLS, and nothing over TCP.
	Datagrams  bool
	ServerName string
	Roots      *x509.CertPool
	// User and Password may allocate. Realm, if given, has to be the server's.
	User, Password, Realm string
	// OtherUser and OtherPassword may allocate too. Without them, what one user may not do to another is skipped.
	OtherUser, OtherPassword string
	// Peer is an address of this machine where the suite opens its peers. Default: the one that the way to the server
	// starts at.
	Peer netip.Addr
	// Only are the numbers to check. Default: all.
	Only []int
	// Long also runs what waits for an end: up to 11 minutes.
	Long bool
	// NonceLifetime, Quota and Capacity are the server's: how long a nonce is good, how many allocations a user may have,
	// and all users together. Zero: not known, and the checks of them are skipped.
	NonceLifetime   time.Duration
	Quota, Capacity int
	// Wait bounds the wait for an answer. Default 2 s.
	Wait time.Duration
	// Parallel is how many checks run at once. Default 8, with Long 32.
	Parallel int

	noPeers bool // the server forbids the suite's peers, as preflight saw
}

// maxProbes bounds Quota and Capacity: each allocation of theirs is a socket of ours.
const maxProbes = 1000

func (c Config) check() (Config, error) {
	if len(c.Servers) == 0 {
		return c, errors.New("conformance: no server")
	}
	if c.User == "" {
		return c, errors.New("conformance: no user")
	}
	if c.Quota > maxProbes || c.Capacity > maxProbes {
		return c, fmt.Errorf("conformance: a quota above %d is not tried", maxProbes)
	}
	for _, n := range c.Only {
		if !slices.ContainsFunc(checks, func(k check) bool { return k.number == n }) {
			return c, fmt.Errorf("conformance: there is no check %d", n)
		}
	}
	if c.Wait <= 0 {
		c.Wait = 2 * time.Second
	}
	if c.Parallel <= 0 {
		c.Parallel = 8
		if c.Long {
			c.Parallel = 32 // they mostly wait
		}
	}
	return c, nil
}

// check is one behaviour.
type check struct {
	number int
	ref    string
	must   string // what must hold, in one line
	over   over
	run    func(*probe)
	alone  bool // nothing else may run at the same time: it counts what the server has, or fills it
}

// over says which transports a behaviour is asked on.
type over uint8

const (
	onUDP  over = 1
	onTCP  over = 2
	onBoth over = onUDP | onTCP
)

// checks are all behaviours, by number.
var checks = slices.Concat(
	generalChecks, authChecks, sha256Checks, tupleChecks, allocateChecks, familyChecks, refreshChecks, permissionChecks, dataChecks,
	channelChecks, streamChecks, connectChecks, bindChecks, otherChecks,
)

// Run asks the server everything and reports. The error is ErrUnreachable, ErrCredentials, that of a wrong Config, or of
// ctx.
func Run(ctx context.Context, config Config) (Report, error) {
	config, err := config.check()
	if err != nil {
		return Report{}, err
	}
	if err := preflight(ctx, &config); err != nil {
		return Report{}, err
	}
	var todo []check
	for _, c := range checks {
		if len(config.Only) == 0 || slices.Contains(config.Only, c.number) {
			todo = append(todo, c)
		}
	}
	slices.SortFunc(todo, func(a, b check) int { return a.number - b.number })
	results := make([]Result, len(todo))
	room := make(chan struct{}, config.Parallel)
	var running sync.WaitGroup
	start := func(i int) {
		room <- struct{}{}
		running.Go(func() {
			results[i] = one(ctx, &config, todo[i])
			<-room
		})
	}
	for i, c := range todo {
		if !c.alone {
			start(i)
		}
	}
	running.Wait()
	for i, c := range todo {
		if c.alone {
			start(i)
			running.Wait()
		}
	}
	return newReport(config, results), ctx.Err()
}

// one runs a check at every address and on every transport that it has.
func one(ctx context.Context, config *Config, c check) Result {
	r := Result{Number: c.number, Ref: c.ref, Must: c.must}
	begin := time.Now()
	for _, server := range config.Servers {
		for _, transport := range []over{onUDP, onTCP} {
			if c.over&transport == 0 {
				continue
			}
			if ctx.Err() != nil {
				r.add(Skip, "", "the run was ended")
				continue
			}
			if config.Secure && transport == onUDP {
				if c.over == onUDP {
					r.add(Skip, "", "a matter of UDP: turn:")
				}
				continue
			}
			if config.Datagrams && transport == onTCP {
				if c.over == onTCP {
					r.add(Skip, "", "a matter of streams: turn:")
				}
				continue
			}
			p := &probe{ctx: ctx, config: config, server: server, tcp: transport == onTCP}
			status, detail := p.try(c.run)
			r.add(status, p.where(), detail)
		}
	}
	r.Millis = time.Since(begin).Milliseconds()
	return r
}
