// Package portmap asks the router for a port on its outside that leads to one of ours: by PCP (RFC 6887), else NAT-PMP
// (RFC 6886), else UPnP (WANIPConnection).
//
// For IPv6, where no address is translated, it asks the router's firewall for a pinhole, so that who was not called first may
// come in: by PCP, else by UPnP (WANIPv6FirewallControl).
//
// Only the default route's router is asked and believed: anybody on the link can claim to be one. A [Mapper] keeps one
// mapping of one port while it serves, renews it at half of its time, asks anew when the network has changed, and gives it back at the end.
package portmap
