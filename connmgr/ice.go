package connmgr

import (
	"context"

	"traverse.internal/core/ice"
	"traverse.internal/core/tls"
)

// ICE is the Pathfinder of the product: core/ice over its endpoint's sockets.
type ICE struct{ Endpoint *ice.Endpoint }

// Check parses the offer.
func (f ICE) Check(remote []byte) error {
	_, err := ice.ParseBinary(remote)
	return err
}

// Gather collects candidates and relay allocations.
func (f ICE) Gather(ctx context.Context) (PathAttempt, error) {
	return f.gather(f.Endpoint.Gather(ctx))
}

// GatherDirect collects candidates for direct paths.
func (f ICE) GatherDirect(ctx context.Context) (PathAttempt, error) {
	return f.gather(f.Endpoint.GatherDirect(ctx))
}

// GatherWith is Gather by another policy than the endpoint's.
func (f ICE) GatherWith(ctx context.Context, policy ice.Policy) (PathAttempt, error) {
	return f.gather(f.Endpoint.GatherWith(ctx, policy))
}

// GatherDetour collects relayed paths alone, though direct ones are wanted.
func (f ICE) GatherDetour(ctx context.Context) (PathAttempt, error) {
	return f.gather(f.Endpoint.GatherDetour(ctx))
}

// WantsDirect reads the offer's policy.
func (f ICE) WantsDirect(remote []byte) bool {
	offer, err := ice.ParseBinary(remote)
	return err == nil && offer.Policy == ice.DirectOnly
}

// MayBeDirect is false where the policy is relay-only.
func (f ICE) MayBeDirect() bool { return f.Endpoint.Policy() != ice.RelayOnly }

// Changed is closed when this machine's addresses next change.
func (f ICE) Changed() <-chan struct{} { return f.Endpoint.Changed() }

func (f ICE) gather(at *ice.Attempt, err error) (PathAttempt, error) {
	if err != nil {
		return nil, err
	}
	a := iceAttempt{Attempt: at}
	// The certificate is part of what is gathered. Without one, which only a broken source of random numbers explains, there is TCP.
	if own, err := tls.NewOneTime(); err == nil && at.UseUDP(own.Fingerprint()) {
		a.own = own
	}
	return a, nil
}

type iceAttempt struct {
	*ice.Attempt
	own *tls.OneTime // for DTLS; nil: no UDP
}

func (a iceAttempt) Offer() []byte { return a.Attempt.Offer().AppendBinary(nil) }

func (a iceAttempt) Permit(ctx context.Context, remote []byte) error {
	offer, err := ice.ParseBinary(remote)
	if err != nil {
		return err
	}
	return a.Attempt.Permit(ctx, offer)
}

func (a iceAttempt) Negotiate(ctx context.Context, role ice.Role, remote []byte) (*Path, error) {
	offer, err := ice.ParseBinary(remote)
	if err != nil {
		return nil, err
	}
	p, err := a.Attempt.Negotiate(ctx, role, offer)
	if err != nil {
		return nil, err
	}
	if p.Pair != nil {
		return &Path{
			Datagrams: p.Pair, Own: a.own, PeerPrint: offer.Fingerprint,
			Route: p.Route, Release: func() { _ = p.Close() },
		}, nil
	}
	return &Path{Conn: p.Conn, Head: p.Head, Route: p.Route, Release: func() { _ = p.Close() }}, nil
}
