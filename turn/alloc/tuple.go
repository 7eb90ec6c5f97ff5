package alloc

import (
	"encoding/binary"
	"net/netip"
	"unique"
)

// tupleKey is a FiveTuple as a map likes it: 48 bytes without gaps, which are hashed and compared in one go. Of a FiveTuple itself each
// field is, and that was a twelfth of the time of a shard with a thousand flows.
type tupleKey struct {
	client, server [2]uint64
	ports          uint64                // the client's, the server's, the transport and whether the addresses have zones
	zones          unique.Handle[string] // the zero value: none has one
}

// key returns what names the 5-tuple in maps. Two have the same one when they are equal.
func (t *FiveTuple) key() tupleKey {
	k := tupleKey{
		client: words(t.Client.Addr()), server: words(t.Server.Addr()),
		ports: uint64(t.Client.Port())<<48 | uint64(t.Server.Port())<<32 | uint64(t.Transport)<<16 |
			uint64(t.Client.Addr().BitLen())<<8 | uint64(t.Server.Addr().BitLen())>>5, // 0, 32 and 128: which family it is
	}
	if client, server := t.Client.Addr().Zone(), t.Server.Addr().Zone(); client != "" || server != "" {
		k.zones = unique.Make(client + "%" + server) // no zone has that sign: it ends an address and begins the zone
	}
	return k
}

// words are the 128 bits of an address; an IPv4 one is mapped.
func words(ip netip.Addr) [2]uint64 {
	if !ip.IsValid() {
		return [2]uint64{}
	}
	b := ip.As16()
	return [2]uint64{binary.NativeEndian.Uint64(b[:8]), binary.NativeEndian.Uint64(b[8:])}
}
