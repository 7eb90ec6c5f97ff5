// Package lan carries signalling between devices on one link, without a DHT, a relay or the Internet.
//
// Who looks for a contact asks the link by multicast DNS (RFC 6762) for a name that only the two of them can compute: a hash of
// their shared secret, of who calls whom, and of the hour. Only the one who is meant knows that it is, and answers, to the asker
// alone (§6.7), with the port of its socket. Nobody announces anything, so to everybody else on the link there is nothing to be seen but
// names that mean nothing and change by the hour. The sealed messages then go there and back in datagrams.
package lan
