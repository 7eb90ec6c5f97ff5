package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"traverse.internal/core/stun"
)

// A turnClient is one UDP allocation with one channel: just enough of a client to
// load a relay, over a plain socket so that the load does not depend on ours.
type turnClient struct {
	conn    *net.UDPConn
	relayed netip.AddrPort
	realm   string
	nonce   []byte
	key     []byte
	buf     [1500]byte
}

// release ends the allocation: a relay must not carry it into the next round.
func (t *turnClient) release() {
	_, _ = t.request(stun.MethodRefresh, func(b *stun.Builder) { b.AddUint32(stun.AttrLifetime, 0) })
	t.conn.Close()
}

// benchChannel is the channel's number: the first of RFC 8656's range.
const benchChannel = 0x4000

// bindChannel allocates at server, from an address (the zero value: any), and binds benchChannel to peer.
func bindChannel(from netip.Addr, server, peer netip.AddrPort) (*turnClient, error) {
	t, err := allocate(from, server)
	if err != nil {
		return nil, err
	}
	answer, err := t.request(stun.MethodChannelBind, func(b *stun.Builder) {
		b.AddChannelNumber(benchChannel)
		b.AddXORAddr(stun.AttrXORPeerAddress, peer)
	})
	if err == nil {
		err = refused("ChannelBind", answer)
	}
	if err == nil {
		err = t.conn.SetDeadline(time.Time{})
	}
	if err != nil {
		t.conn.Close()
		return nil, err
	}
	return t, nil
}

// nextPort is of the next client: one that has not been here lately, as servers remember clients.
var nextPort atomic.Uint32

// allocate makes an allocation of the server's own family.
func allocate(from netip.Addr, server netip.AddrPort) (*turnClient, error) {
	var local *net.UDPAddr
	if from.IsValid() {
		local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, uint16(2000+nextPort.Add(1)%60_000)))
	}
	conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(server))
	if err != nil {
		return nil, err
	}
	t := &turnClient{conn: conn}
	if err := t.allocate(stun.FamilyOf(server.Addr())); err != nil {
		conn.Close()
		return nil, err
	}
	return t, nil
}

// answersBinding asks a server once.
func answersBinding(server netip.AddrPort) error {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		return err
	}
	defer conn.Close()
	b := stun.New(nil, stun.MethodBinding.Request(), stun.NewTransactionID())
	if _, err := conn.Write(b.Bytes()); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1500))
	return err
}

func (t *turnClient) allocate(family stun.Family) error {
	allocate := func(b *stun.Builder) {
		b.AddRequestedTransport(stun.TransportUDP)
		if family == stun.FamilyIPv6 {
			b.AddFamily(stun.AttrRequestedAddressFamily, family)
		}
	}
	answer, err := t.request(stun.MethodAllocate, allocate)
	if err != nil {
		return err
	}
	if answer.Type().Class == stun.ClassError { // 401 with realm and nonce
		if err := t.challenge(answer); err != nil {
			return err
		}
		if answer, err = t.request(stun.MethodAllocate, allocate); err != nil {
			return err
		}
	}
	if err := refused("Allocate", answer); err != nil {
		return err
	}
	t.relayed, err = answer.XORAddr(stun.AttrXORRelayedAddress)
	return err
}

func refused(what string, m stun.Message) error {
	if m.Type().Class == stun.ClassSuccess {
		return nil
	}
	code, phrase, _ := m.ErrorCode()
	return fmt.Errorf("%s refused: %d %s", what, code, phrase)
}

func (t *turnClient) challenge(m stun.Message) error {
	realm, err := m.Text(stun.AttrRealm)
	if err != nil {
		return errors.Join(refused("Allocate", m), err)
	}
	nonce, ok := m.Attr(stun.AttrNonce)
	if !ok {
		return errors.New("challenge without a nonce")
	}
	t.realm, t.nonce = string(realm), append([]byte(nil), nonce...)
	t.key = stun.LongTermKey(relayUser, t.realm, relayPassword)
	return nil
}

// request sends one request, up to five times, and returns the answer.
func (t *turnClient) request(method stun.Method, add func(*stun.Builder)) (stun.Message, error) {
	id := stun.NewTransactionID()
	b := stun.New(nil, method.Request(), id)
	add(&b)
	if t.key != nil {
		b.AddText(stun.AttrUsername, relayUser)
		b.AddText(stun.AttrRealm, t.realm)
		b.Add(stun.AttrNonce, t.nonce)
		b.AddIntegrity(t.key)
	}
	b.AddFingerprint()
	if err := b.Err(); err != nil {
		return stun.Message{}, err
	}
	var err error
	for range 5 {
		if _, err = t.conn.Write(b.Bytes()); err != nil {
			continue // a port that is not open yet refuses
		}
		t.conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		var n int
		if n, err = t.conn.Read(t.buf[:]); err != nil {
			continue
		}
		var m stun.Message
		if m, err = stun.Parse(t.buf[:n]); err == nil && m.TransactionID() == id {
			return m, nil
		}
	}
	return stun.Message{}, fmt.Errorf("no answer to %v: %w", method, err)
}
