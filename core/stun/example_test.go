package stun_test

import (
	"fmt"
	"net/netip"

	"traverse.internal/core/stun"
)

func Example() {
	key := stun.LongTermKey("user", "realm", "pass")
	b := stun.New(make([]byte, 0, 256), stun.MethodAllocate.Success(), stun.NewTransactionID())
	b.AddXORAddr(stun.AttrXORRelayedAddress, netip.MustParseAddrPort("192.0.2.15:50000"))
	b.AddUint32(stun.AttrLifetime, 600)
	b.AddIntegrity(key)

	m, err := stun.Parse(b.Bytes())
	if err != nil {
		fmt.Println(err)
		return
	}
	relayed, _ := m.XORAddr(stun.AttrXORRelayedAddress)
	fmt.Println(m.Type(), relayed, m.CheckIntegrity(key))
	_, _, err = m.ErrorCode()
	fmt.Println(err)
	// Output:
	// Allocate success 192.0.2.15:50000 <nil>
	// stun: attribute missing
}
