package reason

// Advice is what an operator is told of a Code: what it means, and what would change it. Both are one sentence.
type Advice struct{ Means, Change string }

var advice = map[Code]Advice{
	DirectLAN:    {"both ends are on one network, or one machine", "nothing to change: there is no shorter way"},
	DirectPublic: {"an end is reachable at an address of its own", "nothing to change: the path is direct"},
	DirectMapped: {"a router leads the port on its outside to a device", "nothing to change: the path is direct"},
	PunchedTCP:   {"both ends opened their NATs to each other, over TCP", "nothing to change; a mapped port (node.port_mapping) sets up faster"},
	PunchedUDP:   {"both ends opened their NATs to each other, over UDP", "nothing to change; a mapped port (node.port_mapping) lets TCP through as well"},

	RelayPendingPunch:   {"the relay was there first and the direct path is still being tried", "wait: the session moves when a direct path is found"},
	RelaySymmetricBoth:  {"both NATs map every destination anew, so that neither end can be told where to find the other", "map a port on either router (UPnP, NAT-PMP, PCP, or by hand), or have IPv6 at both ends"},
	RelaySymmetricOne:   {"one NAT maps every destination anew, and the other lets in only whom it knows", "map a port on either router (UPnP, NAT-PMP, PCP, or by hand), or have IPv6 at both ends"},
	RelayTCPFiltered:    {"no direct TCP connection came through, though there is an address to connect to", "let the node's port in on one end's firewall, or TCP to any port out on the other"},
	RelayUDPBlocked:     {"no UDP leaves this network, and TCP found no direct way", "let UDP out on the network's firewall"},
	RelayFamilyMismatch: {"one end has only IPv4 and the other only IPv6", "give either end the other family; a relay with both is what joins them until then"},
	RelayPolicy:         {"one end is set to relay-only", "set path.policy, or the contact's path (contact set), to auto on the end that has relay-only"},
	RelayPunchTimeout:   {"both NATs should let a direct path through, and none came in time", "try again; if it stays, a firewall behind the NAT drops what comes in: map a port on either router"},
	RelayDirectDegraded: {"the direct path died or became worse than the relay", "nothing: the direct path is tried again; see that the network on both ends is well"},

	NoRecord:         {"the device left no record on the DHT that this one could find", "start the node there, and see that both are on the same DHT: `node status` on both ends"},
	RecordStale:      {"the device's record is too old to believe", "start the node there; if it runs, its DHT is out of reach: `node netcheck` there"},
	PeerSilent:       {"the device has a record but did not answer", "start the node there, and see that it has this device as a contact and both clocks are right"},
	NoPath:           {"both ends talked, and no way between them worked, relays included", "give either end a relay that the other can reach: [[relay]] in the configuration"},
	AuthRevoked:      {"the device was revoked by its account", "link the device to its account again, or use another of its devices"},
	AuthWrongKey:     {"the peer showed another key than the device that was called", "ask its owner for the device id and add the contact anew; if it repeats, somebody is in between"},
	RelayQuota:       {"the relay has no more allocations for this user, or at all", "raise the relay's limits (turnd.limits), or have a relay of one's own"},
	RelayAuth:        {"the relay refused the user or the password", "correct the relay's user and password_file, and see that both clocks are right"},
	RelayUnreachable: {"the relay did not answer", "see that the relay runs and is reachable from here: `turnd check URL`"},
}

// Explain returns what is to be said of a code; the zero Advice where nothing is known.
func Explain(c Code) Advice { return advice[c] }
