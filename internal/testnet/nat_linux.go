package testnet

// led are the rules by which what comes in goes where the maps say.
const led = `
		iifname eth0 dnat to tcp dport map @tcp_ports
		iifname eth0 dnat to udp dport map @udp_ports`

// rules are a router's, with eth0 on the outside. Linux maps a port to the same one outside while that is free, so a plain
// masquerade maps endpoint-independently (RFC 4787 §4.1) and filters by address and port (§5). What comes in uninvited is
// dropped before the connection is noted, or it would take the mapping away from the host's own packet to the same peer.
func rules(k Kind) string {
	masquerade, learn, admit, leave := "masquerade", "", "", ""
	switch k {
	case Symmetric:
		masquerade = "masquerade random"
	case Mapping: // what is asked for is put into the maps
		masquerade, admit = "masquerade random", led
	case Open:
		learn = `
		oifname eth0 ip protocol tcp update @tcp_ports { tcp sport : ip saddr }
		oifname eth0 ip protocol udp update @udp_ports { udp sport : ip saddr }`
		admit = led
	case NoUDP:
		leave = "oifname eth0 ip protocol udp drop"
	case HTTPSOnly:
		leave = `
		oifname eth0 ip protocol udp drop
		oifname eth0 tcp dport != 443 ct state new drop`
	case Filtered:
		leave = "oifname eth0 tcp dport != 443 ct state new drop"
	}
	return `
table ip router {
	map tcp_ports { type inet_service : ipv4_addr; flags dynamic,timeout; timeout 10m; size 4096; }
	map udp_ports { type inet_service : ipv4_addr; flags dynamic,timeout; timeout 10m; size 4096; }
	chain in {
		type nat hook prerouting priority dstnat;` + admit + `
	}
	chain out {
		type nat hook postrouting priority srcnat;
		oifname eth0 ` + masquerade + `
	}
	chain local {
		type filter hook input priority filter;
		iifname eth0 ct state new drop
	}
	chain through {
		type filter hook forward priority filter;` + learn + `
		` + leave + `
		iifname eth0 ct state new ct status & dnat == 0 drop
	}
}
`
}
