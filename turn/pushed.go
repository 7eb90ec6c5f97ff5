package turn

import (
	"crypto/ed25519"
	stdtls "crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"

	"traverse.internal/core/pushwire"
	"traverse.internal/identity"
	"traverse.internal/turn/push"
)

// tlsRecord is how a TLS handshake begins (RFC 8446 §5.1): no STUN message and no ChannelData does.
const tlsRecord = 0x16

// pusher is the server's part in signalling by push: docs/protocol/push.md. It has no port of its own: on TLS listeners the protocol
// that was agreed on tells its connections, on TCP listeners the first byte.
type pusher struct {
	hub *push.Hub
	tls *stdtls.Config // of connections to TCP listeners
}

func newPusher(l push.Limits) (*pusher, error) {
	// Nobody can know this certificate: what shows a device that this is its relay is the proof of its password.
	self, err := identity.New()
	if err != nil {
		return nil, err
	}
	return &pusher{push.New(l), &stdtls.Config{
		MinVersion: stdtls.VersionTLS13, NextProtos: []string{pushwire.ALPN}, Certificates: []stdtls.Certificate{self.Certificate()},
		SessionTicketsDisabled: true,
	}}, nil
}

// offerPush adds the protocol to those of a TLS listener.
func (s *Server) offerPush(c *stdtls.Config) *stdtls.Config {
	if s.pusher != nil {
		c.NextProtos = append(slices.Clone(c.NextProtos), pushwire.ALPN)
	}
	return c
}

// pushed says whether the connection is one of the push protocol, and serves it then. Over TLS the handshake tells, which it makes first;
// over TCP the first byte that was read.
func (st *stream) pushed() bool {
	p := st.server.pusher
	switch {
	case p == nil || st.spoken.Load():
		return false
	case st.secure != nil:
		if st.secure.HandshakeContext(st.server.ctx) != nil { // within FirstMessage, the deadline that is set
			return true
		}
		if st.secure.ConnectionState().NegotiatedProtocol != pushwire.ALPN {
			return false
		}
		st.readFreely() // the kernel never gets it
		st.push(st.secure)
		return true
	case st.have == 0 || st.buf.Bytes()[0] != tlsRecord:
		return false
	}
	if !p.hub.Enter(st.tuple.Client.Addr()) { // a handshake is a millisecond of work
		return true
	}
	conn := stdtls.Server(&begunConn{st.tcp, slices.Clone(st.buf.Bytes()[:st.have])}, p.tls)
	st.drop()
	if conn.HandshakeContext(st.server.ctx) == nil {
		st.push(conn)
	}
	return true
}

// push serves a connection of the push protocol until it ends.
func (st *stream) push(conn *stdtls.Conn) {
	st.spoken.Store(true)
	state := conn.ConnectionState()
	if state.Version < stdtls.VersionTLS13 {
		return
	}
	_ = st.server.pusher.hub.Serve(conn, push.Peer{ // counted there
		Source: st.tuple.Client.Addr(), Realm: st.server.config.Realm, Known: st.introduce,
		Authenticate: func(f pushwire.Frame) (string, pushwire.Instance, pushwire.Proof, bool) {
			return st.server.pushUser(state, f)
		},
	})
}

// begunConn is a connection of which something was read before.
type begunConn struct {
	*net.TCPConn
	begin []byte
}

func (c *begunConn) Read(b []byte) (int, error) {
	if len(c.begin) == 0 {
		return c.TCPConn.Read(b)
	}
	n := copy(b, c.begin)
	c.begin = c.begin[n:]
	return n, nil
}

// Accounts are told apart by their first letter.
const (
	pushByName   = "user "
	pushByDevice = "device "
)

// pushUser says who registers: a device of ours by the certificate that the connection shows, or a user by the proof of a password.
func (s *Server) pushUser(state stdtls.ConnectionState, f pushwire.Frame) (account string, i pushwire.Instance, proof pushwire.Proof, ok bool) {
	if s.draining.Load() {
		return "", i, proof, false
	}
	if f.User == "" {
		id, err := shownDevice(state)
		if err != nil {
			return "", i, proof, false
		}
		_, ok := (*s.devices.Load())[id]
		return pushByDevice + id.String(), i, proof, ok // one connection: the instance does not count
	}
	secret, err := state.ExportKeyingMaterial(pushwire.ExporterLabel, nil, 32)
	if err != nil {
		return "", i, proof, false
	}
	exported := [32]byte(secret)
	var room [maxSecrets]user
	found, _ := s.users.find(room[:0], []byte(f.User), s.now(), true)
	if len(found) == 0 { // the same work for a name that is nobody's
		found = append(found, user{keys: DeriveKeys(f.User, s.config.Realm, "")})
		found[0].name = ""
	}
	for _, who := range found {
		key := who.keys.SHA256[:]
		if pushwire.ClientProof(key, exported, f.Instance).Equal(f.Proof) && who.name != "" {
			return pushByName + who.name, f.Instance, pushwire.ServerProof(key, exported, f.Instance), true
		}
	}
	return "", i, proof, false
}

var errNoDevice = errors.New("turn: the connection shows no device's certificate")

// shownDevice is the device whose certificate a connection shows.
func shownDevice(state stdtls.ConnectionState) (identity.DeviceID, error) {
	if len(state.PeerCertificates) == 0 {
		return identity.DeviceID{}, errNoDevice
	}
	key, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return identity.DeviceID{}, errNoDevice
	}
	return identity.DeviceID(key), nil
}

// keepPushed ends the registrations of users who are gone. Those with time-limited names stay while there is a secret.
func (s *Server) keepPushed() {
	if s.pusher == nil {
		return
	}
	set, devices := s.users.set.Load(), *s.devices.Load()
	s.pusher.hub.Keep(func(account string) bool {
		if text, ok := strings.CutPrefix(account, pushByDevice); ok {
			id, err := identity.ParseDeviceID(text)
			_, known := devices[id]
			return err == nil && known
		}
		_, known := set.byName[strings.TrimPrefix(account, pushByName)]
		return known || len(set.secrets) > 0
	})
}
