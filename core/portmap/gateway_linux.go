package portmap

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"strings"
)

var errNoRouter = errors.New("there is no router: no default route for IPv4")

// gateway returns the router of the default route for IPv4, and our address towards it.
func gateway() (router, ours netip.Addr, err error) {
	f, err := os.Open("/proc/thread-self/net/route")
	if err != nil {
		return router, ours, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// Iface Destination Gateway Flags ..., addresses in hexadecimal as they lie in memory
		field := strings.Fields(lines.Text())
		if len(field) < 3 || field[1] != "00000000" || field[2] == "00000000" {
			continue
		}
		b, err := hex.DecodeString(field[2])
		if err != nil || len(b) != 4 {
			continue
		}
		var a [4]byte
		binary.NativeEndian.PutUint32(a[:], binary.BigEndian.Uint32(b))
		router = netip.AddrFrom4(a)
		ours, err = towards(router)
		return router, ours, err
	}
	return router, ours, errNoRouter
}
