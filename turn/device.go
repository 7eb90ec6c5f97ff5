package turn

import (
	"crypto/ed25519"
	stdtls "crypto/tls"
	"encoding/base64"

	"traverse.internal/core/stun"
	"traverse.internal/identity"
)

// deviceLabel is what devices' passwords are exported by (RFC 8446 §7.5), with no context: docs/protocol/turn.md.
const deviceLabel = "EXPORTER-Traverse-TURN-device"

// deviceSet is who may allocate by its certificate.
type deviceSet map[identity.DeviceID]struct{}

// setDevices replaces the set.
func (s *Server) setDevices(ids []identity.DeviceID) {
	set := make(deviceSet, len(ids))
	for _, id := range ids {
		set[id] = struct{}{}
	}
	s.devices.Store(&set)
}

// askDevice has a TLS listener ask for a certificate. Nobody needs one, and none has a chain: a device is its key, and that
// it has the key is what TLS proves.
func (s *Server) askDevice(c *stdtls.Config) *stdtls.Config {
	if len(*s.devices.Load()) > 0 {
		c.ClientAuth = stdtls.RequestClientCert
	}
	return c
}

// device returns the user that a name is on this connection: a device of ours, whose id is the name and whose certificate
// the connection shows. Its password is exported from the connection, and good for nothing else: not to be stolen, and
// not to be used by who sits between.
func (st *stream) device(name []byte) (user, bool) {
	if st == nil || st.secure == nil {
		return user{}, false
	}
	state := st.secure.ConnectionState()
	if len(state.PeerCertificates) == 0 {
		return user{}, false
	}
	key, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return user{}, false
	}
	id := identity.DeviceID(key)
	if _, ok := (*st.server.devices.Load())[id]; !ok || id.String() != string(name) {
		return user{}, false
	}
	secret, err := state.ExportKeyingMaterial(deviceLabel, nil, 32)
	if err != nil { // TLS 1.2 without an extended master secret
		return user{}, false
	}
	return user{name: id.String(), keys: DeriveKeys(id.String(), st.server.config.Realm, base64.RawURLEncoding.EncodeToString(secret))}, true
}

// candidates are the users that the request may come from.
func (r *request) candidates(room []user, name []byte) (found []user, expired bool) {
	found, expired = r.shard.server.users.find(room, name, r.now, r.method == stun.MethodAllocate)
	if who, ok := r.stream.device(name); ok {
		return append(found, who), false
	}
	return found, expired
}
