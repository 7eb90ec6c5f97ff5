package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"traverse.internal/core/stun"
)

// Config says which server to ask, and for what.
type Config struct {
	Network    string         // "udp", "tcp", "tls" or "dtls"
	Server     netip.AddrPort // of the server
	ServerName string         // for "tls" and "dtls": whose certificate it has to be
	Roots      *x509.CertPool // for those; nil: the system's
	User       string
	Password   string
	Families   []stun.Family // of relayed addresses, in order; none: ends after the answer to a Binding, which takes no user
	NoData     bool          // ends after the allocations
	Timeout    time.Duration // of one answer; default 5 s
}

// stream says whether frames follow one another without datagrams around them.
func (c *Config) stream() bool { return c.Network == "tcp" || c.Network == "tls" }

// Kind is what a failure means for who operates the server.
type Kind uint8

// The kinds. A family that the server does not have is no failure as long as another works.
const (
	Unreachable Kind = iota + 1 // no answer, or no TURN
	Auth                        // the server does not accept the user, or its certificate is not the right one
	Refused                     // it answered with an error
	NoData                      // everything was granted, and nothing arrived
)

// Error is the step that stopped the probe.
type Error struct {
	Kind Kind
	Step string         // of the list in Report
	Code stun.ErrorCode // 0: none
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Step, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Step is one thing that was tried.
type Step struct {
	Name   string         `json:"name"`             // bind, allocate, permit, channel, data, connect
	Family string         `json:"family,omitempty"` // ipv4, ipv6: of the relayed address
	OK     bool           `json:"ok"`
	Code   stun.ErrorCode `json:"code,omitempty"`
	Detail string         `json:"detail,omitempty"`
	Took   time.Duration  `json:"took_ns"`
}

// Report is what a Run found.
type Report struct {
	Network string         `json:"transport"`
	Server  netip.AddrPort `json:"server"`
	Steps   []Step         `json:"steps"`
	Expires *time.Time     `json:"expires,omitempty"` // of the certificate, over TLS
}

// run is a Run under way.
type run struct {
	Config
	ctx    context.Context
	report *Report
}

// Run probes. The error, an *Error, is the first step that failed; the report has what was tried until then. When only
// some of the families are there, the error is nil: Missing says which are not.
func Run(ctx context.Context, c Config) (Report, error) {
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	report := Report{Network: c.Network, Server: c.Server}
	r := &run{c, ctx, &report}
	if err := r.bind(); err != nil {
		return report, err
	}
	if len(c.Families) == 0 {
		return report, nil
	}
	var refused error
	var works []stun.Family
	for _, family := range c.Families {
		err := r.family(family)
		var e *Error
		switch {
		case err == nil:
			works = append(works, family)
		case errors.As(err, &e) && e.Code == stun.CodeFamilyNotSupported:
			refused = err
		default:
			return report, err
		}
	}
	if len(works) == 0 {
		return report, refused
	}
	if c.stream() && !c.NoData {
		return report, r.peerConnection(works[0])
	}
	return report, nil
}

// Missing returns the families that the server does not have.
func (r Report) Missing() []string {
	var out []string
	for _, s := range r.Steps {
		if s.Name == "allocate" && s.Code == stun.CodeFamilyNotSupported {
			out = append(out, s.Family)
		}
	}
	return out
}

// step does one thing and notes how it went. What it returns first is for people.
func (r *run) step(name string, family stun.Family, do func() (string, error)) error {
	began := time.Now()
	detail, err := do()
	s := Step{Name: name, OK: err == nil, Detail: detail, Took: time.Since(began)}
	if family != 0 {
		s.Family = familyName(family)
	}
	if err != nil {
		e := r.explain(err)
		e.Step = name
		s.Code, s.Detail = e.Code, e.Err.Error()
		if s.Family != "" {
			e.Step += " " + s.Family
		}
		err = e
	}
	r.report.Steps = append(r.report.Steps, s)
	return err
}

// explain gives an error its kind.
func (r *run) explain(err error) *Error {
	var answer *answerError
	var silent *noDataError
	switch {
	case errors.As(err, &silent):
		return &Error{Kind: NoData, Err: err}
	case isUntrusted(err):
		return &Error{Kind: Auth, Err: err}
	case !errors.As(err, &answer):
		return &Error{Kind: Unreachable, Err: err}
	case answer.code == stun.CodeUnauthenticated, answer.code == stun.CodeStaleNonce, answer.code == stun.CodeWrongCredentials:
		return &Error{Kind: Auth, Code: answer.code, Err: err}
	}
	return &Error{Kind: Refused, Code: answer.code, Err: err}
}

func (r *run) bind() error {
	return r.step("bind", 0, func() (string, error) {
		c, err := r.dial()
		if err != nil {
			return "", err
		}
		defer c.close()
		m, err := c.ask(stun.MethodBinding)
		if err != nil {
			return "", err
		}
		mapped, err := m.XORAddr(stun.AttrXORMappedAddress)
		return "seen as " + mapped.String(), err
	})
}

// family makes two allocations and lets them talk.
func (r *run) family(family stun.Family) error {
	var near, far *allocation
	err := r.step("allocate", family, func() (detail string, err error) {
		if near, err = r.allocate(family, stun.TransportUDP); err != nil {
			return "", err
		}
		return "relayed " + near.relayed.String(), nil
	})
	if err != nil {
		return err
	}
	defer near.release()
	if r.NoData {
		return nil
	}
	var peer peer
	err = r.step("permit", family, func() (detail string, err error) {
		peer, far, detail, err = r.peerOf(near, family)
		return detail, err
	})
	if err != nil {
		return err
	}
	defer peer.close()
	if far != nil {
		defer far.release()
	}
	if err := r.step("channel", family, func() (string, error) {
		return "", near.bindChannel(peer.addr())
	}); err != nil {
		return err
	}
	return r.step("data", family, func() (string, error) { return "both ways", exchange(near, peer) })
}

// peerOf finds an address that the server lets near talk to: another allocation, or else a socket of ours.
func (r *run) peerOf(near *allocation, family stun.Family) (peer, *allocation, string, error) {
	far, err := r.allocate(family, stun.TransportUDP)
	if err != nil {
		return nil, nil, "", fmt.Errorf("a second allocation: %w", err)
	}
	if err = near.permit(far.relayed.Addr()); err == nil {
		err = far.permit(near.relayed.Addr())
	}
	if err == nil {
		return relayPeer{far}, far, "relay to relay", nil
	}
	far.release()
	if !isForbidden(err) {
		return nil, nil, "", err
	}
	local, errLocal := r.listenNear(family)
	if errLocal != nil {
		return nil, nil, "", err // there is no other way
	}
	if err := near.permit(local.at.Addr()); err != nil {
		local.close()
		return nil, nil, "", fmt.Errorf("neither its relayed addresses nor %v may be peers: %w", local.at.Addr(), err)
	}
	return local, nil, "relay to " + local.at.Addr().String(), nil
}

// listenNear opens a socket that the server may reach: on the address with which this machine talks to it.
func (r *run) listenNear(family stun.Family) (*localPeer, error) {
	if stun.FamilyOf(r.Server.Addr()) != family {
		return nil, errors.New("this machine's address of that family is not known")
	}
	out, err := net.Dial("udp", r.Server.String())
	if err != nil {
		return nil, err
	}
	ip := out.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	_ = out.Close()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		return nil, err
	}
	at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return &localPeer{r, conn, netip.AddrPortFrom(at.Addr().Unmap(), at.Port())}, nil
}

func familyName(f stun.Family) string {
	if f == stun.FamilyIPv6 {
		return "ipv6"
	}
	return "ipv4"
}
