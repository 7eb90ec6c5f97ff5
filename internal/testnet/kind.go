package testnet

// Kind says what stands between a site's hosts and the Internet.
type Kind string

// The kinds. Those with a NAT have IPv4 only, as IPv6 would go around it.
const (
	Public       Kind = "public"       // nothing, both families
	Open         Kind = "open"         // a NAT that maps each port once and lets anybody in who knows the mapping ("full cone")
	Restricted   Kind = "restricted"   // a NAT that maps each port once and lets in from where something was sent
	Symmetric    Kind = "symmetric"    // a NAT that maps a port anew for each destination, at random
	CarrierGrade Kind = "carrier"      // a restricted NAT behind the provider's restricted NAT
	NoUDP        Kind = "no UDP"       // a restricted NAT that no UDP leaves
	HTTPSOnly    Kind = "443 only"     // a restricted NAT that only TCP to port 443 leaves
	Mapping      Kind = "port mapping" // a symmetric NAT that leads a port to whom asks for one
	IPv6Only     Kind = "IPv6 only"    // nothing, and no IPv4
	Filtered     Kind = "TCP filtered" // a restricted NAT that UDP leaves, and TCP only to port 443
)
