// Package loopback gives tests what they need there: ports that stay theirs, a certificate, other people's programs, coturn.
//
// Only tests import it.
package loopback
