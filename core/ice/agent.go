package ice

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	pionice "github.com/pion/ice/v2"
	"github.com/pion/logging"
	"github.com/pion/transport/v2"
	"github.com/pion/transport/v2/stdnet"
)

// newAgent makes the ICE state machine of an attempt. It decides on pairs, nomination and roles; it opens no socket, because
// its only way out is the attempt's mailboxes. Its callbacks come on goroutines of their own, in any order, so they only
// note and wake.
func newAgent(a *Attempt) (*pionice.Agent, error) {
	var (
		never    = time.Duration(0)
		atOnce   = time.Duration(0)
		interval = checkInterval
		// Both limits 0 would make checking fail at once. Ours is the context of Negotiate; this one is out of the way.
		failed = time.Hour
		// A pair fails after so many unanswered checks. A connection may take long to come up, and a relay is held back.
		patience = uint16(0xffff)
	)
	agent, err := pionice.NewAgent(&pionice.AgentConfig{
		LocalUfrag:             a.ufrag,
		LocalPwd:               a.password,
		NetworkTypes:           []pionice.NetworkType{pionice.NetworkTypeTCP4, pionice.NetworkTypeTCP6},
		CandidateTypes:         []pionice.CandidateType{pionice.CandidateTypeHost},
		TCPMux:                 postOffice{a},
		Net:                    labelNet{&stdnet.Net{}},
		DisableActiveTCP:       true, // it would dial by itself
		MulticastDNSMode:       pionice.MulticastDNSModeDisabled,
		KeepaliveInterval:      &a.ep.cfg.keepalive,
		DisconnectedTimeout:    &never,
		FailedTimeout:          &failed,
		CheckInterval:          &interval,
		MaxBindingRequests:     &patience,
		HostAcceptanceMinWait:  &atOnce,
		PrflxAcceptanceMinWait: &atOnce,
		LoggerFactory:          &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled},
	})
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		agent.OnCandidate(func(pionice.Candidate) {}), // required; we know our candidates
		agent.OnSelectedCandidatePairChange(func(_, remote pionice.Candidate) {
			if addr, err := netip.ParseAddr(remote.Address()); err == nil {
				a.selectedPair(netip.AddrPortFrom(addr.Unmap(), uint16(remote.Port())))
			}
		}),
		agent.GatherCandidates(),
	)
	if err != nil {
		agent.Close()
		return nil, err
	}
	return agent, nil
}

// addRemote tells the agent of an address to check. It is always a host candidate of type so: the agent pairs passive ones
// with nothing, and gives relayed and reflexive ones the address of a datagram socket.
func addRemote(agent *pionice.Agent, at netip.AddrPort, priority uint32) error {
	c, err := pionice.NewCandidateHost(&pionice.CandidateHostConfig{
		Network: "tcp", Address: at.Addr().String(), Port: int(at.Port()), Component: 1,
		Priority: max(1, priority), TCPType: pionice.TCPTypeSimultaneousOpen,
	})
	if err != nil {
		return err
	}
	return agent.AddRemoteCandidate(c)
}

// labelNet shows the agent one interface that has the labels.
type labelNet struct{ *stdnet.Net }

// Interfaces returns that one interface.
func (labelNet) Interfaces() ([]*transport.Interface, error) {
	i := transport.NewInterface(net.Interface{Index: 1, MTU: 1500, Name: "label", Flags: net.FlagUp})
	for _, l := range labels {
		i.AddAddress(&net.IPNet{IP: l.AsSlice(), Mask: net.CIDRMask(l.BitLen(), l.BitLen())})
	}
	return []*transport.Interface{i}, nil
}

// postOffice gives the agent the mailbox of a family.
type postOffice struct{ a *Attempt }

func (p postOffice) GetConnByUfrag(_ string, v6 bool, _ net.IP) (net.PacketConn, error) {
	if v6 {
		return p.a.boxes[1], nil
	}
	return p.a.boxes[0], nil
}

func (postOffice) RemoveConnByUfrag(string) {}
func (postOffice) Close() error             { return nil }
