package turn

import (
	"net/netip"
	"reflect"
	"slices"

	"traverse.internal/turn/alloc"
)

// reloadable are the fields of Config that Reload applies; all others take a new server.
var reloadable = []string{
	"Users", "Keys", "Secrets", "Devices", "AllowPeers", "DenyPeers", "OwnRelays", "DenyEndpoints", "Alternates", "Limits", "MaxStreams", "MaxStrangers", "Inherited", "StrangerRate",
	"FleetKeys", "Offload", "Certificates", // which stay
}

// Reload applies what can be changed under way: users, the peer policy, limits, alternates. No socket is touched and no
// packet lost. Permissions, channels and peer connections that the new policy denies end before it returns; allocations
// of users who are gone end with their next request; what is above a lowered limit stays. It returns the names of fields
// that differ and need a new server, which it did not apply. With an error nothing has changed. Safe for concurrent use.
func (s *Server) Reload(config Config) (restart []string, err error) {
	s.reloads.Lock()
	defer s.reloads.Unlock()
	config = config.withDefaults()
	if err := config.check(); err != nil {
		return nil, err
	}
	present, wanted := reflect.ValueOf(s.config), reflect.ValueOf(config)
	for i := range present.NumField() {
		name := present.Type().Field(i).Name
		if !slices.Contains(reloadable, name) && !reflect.DeepEqual(present.Field(i).Interface(), wanted.Field(i).Interface()) {
			restart = append(restart, name)
		}
	}
	// Relay addresses and listeners are part of the policy, and stay.
	effective := s.config
	effective.AllowPeers, effective.DenyPeers = config.AllowPeers, config.DenyPeers
	effective.OwnRelays, effective.DenyEndpoints = config.OwnRelays, config.DenyEndpoints
	if s.cert != nil {
		if err := s.cert.load(); err != nil {
			return nil, err
		}
	}
	if err := s.setPolicy(effective); err != nil {
		return nil, err
	}
	s.users.replace(config.Users, config.Keys, config.Secrets)
	s.config.Users, s.config.Keys, s.config.Secrets = config.Users, config.Keys, config.Secrets // for SetUsers
	s.setDevices(config.Devices)
	if !slices.Equal(s.config.FleetKeys, config.FleetKeys) {
		s.nonces.setKeys(config.FleetKeys)
		s.config.FleetKeys = config.FleetKeys
	}
	s.alternates.Store(&config.Alternates)
	s.door.setMax(config.MaxStreams, config.MaxStrangers)
	s.setLimits(config.Limits)
	for _, sh := range s.shards {
		sh.mu.Lock()
		sh.strangers.setRate(config.StrangerRate)
		sh.mu.Unlock()
	}
	s.keepPushed()
	s.recheck()
	s.again.Store(true) // for a request that was judged by the policy before and is granted only now
	return restart, nil
}

func (s *Server) setPolicy(config Config) error {
	p, err := newPolicy(config, s.Addrs())
	if err == nil {
		s.policy.current.Store(p)
		s.kernel.invalidate()
	}
	return err
}

// recheck takes back what the policy now denies. It holds a shard's lock for one allocation at a time, at most 256
// permissions, so that packets do not wait.
func (s *Server) recheck() {
	address := func(ip netip.Addr) bool { return s.policy.address(ip) != Allowed }
	for _, sh := range s.shards {
		for _, a := range sh.all() {
			rel := relayOf(a)
			endpoint := func(peer netip.AddrPort) bool { return s.policy.endpoint(peer, rel.ownRelayed) != Allowed }
			sh.mu.Lock()
			var n int
			var conns []*alloc.Conn
			if !a.Gone() {
				n, conns = sh.table.Revoke(a, address, endpoint)
			}
			sh.mu.Unlock()
			s.revoked.Add(uint64(n + len(conns)))
			for _, c := range conns {
				s.closeConn(c)
			}
		}
	}
}

// all returns the shard's allocations. By the time they are looked at some may be gone.
func (sh *shard) all() []*alloc.Allocation {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	list := make([]*alloc.Allocation, 0, sh.table.Len())
	for a := range sh.table.All {
		list = append(list, a)
	}
	return list
}
