package conformance_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/pion/logging"
	pionturn "github.com/pion/turn/v2"

	"traverse.internal/conformance"
	"traverse.internal/internal/loopback"
)

// pion/turn v2 is a library for who controls both ends. Most of what it does otherwise is seen at once.
func TestPion(t *testing.T) {
	t.Parallel()
	at := netip.AddrPortFrom(loopback.IP4, loopback.FreePort(t))
	udp, err := net.ListenPacket("udp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	relay := &pionturn.RelayAddressGeneratorStatic{RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1"}
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	server, err := pionturn.NewServer(pionturn.ServerConfig{
		Realm: "traverse", LoggerFactory: quiet,
		AuthHandler: func(user, realm string, _ net.Addr) ([]byte, bool) {
			password, ok := map[string]string{"anna": "secret", "bert": "other secret"}[user]
			return pionturn.GenerateAuthKey(user, realm, password), ok
		},
		PacketConnConfigs: []pionturn.PacketConnConfig{{PacketConn: udp, RelayAddressGenerator: relay}},
		ListenerConfigs:   []pionturn.ListenerConfig{{Listener: tcp, RelayAddressGenerator: relay}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	report := run(t, conformance.Config{
		Servers: []netip.AddrPort{at}, User: "anna", Password: "secret", OtherUser: "bert", OtherPassword: "other secret",
	})
	if report.Failed < 50 {
		_ = report.WriteText(t.Output())
		t.Errorf("pion/turn v2 deviates in %v only", report.Numbers(conformance.Fail))
	}
}
