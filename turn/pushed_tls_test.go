package turn

import (
	stdtls "crypto/tls"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"traverse.internal/core/ktls"
	"traverse.internal/core/pushwire"
	"traverse.internal/core/stun"
)

// pushClient is a connection of the push protocol.
type pushClient struct {
	*stdtls.Conn
	t  *testing.T
	in *pushwire.Reader
}

// dialPush connects to a listener, and takes the relay's hello.
func dialPush(t *testing.T, at netip.AddrPort) *pushClient {
	t.Helper()
	raw, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	conn := stdtls.Client(raw, &stdtls.Config{InsecureSkipVerify: true, NextProtos: []string{pushwire.ALPN}})
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := &pushClient{conn, t, pushwire.NewReader(conn)}
	c.next(pushwire.Hello)
	return c
}

func (c *pushClient) next(kind pushwire.Kind) pushwire.Frame {
	c.t.Helper()
	f, err := c.in.Next()
	if err != nil || f.Kind != kind {
		c.t.Fatalf("frame %d, %v, want %d", f.Kind, err, kind)
	}
	return f
}

func (c *pushClient) send(frames ...pushwire.Frame) {
	c.t.Helper()
	var all []byte
	for _, f := range frames {
		all = pushwire.Append(all, f)
	}
	if _, err := c.Write(all); err != nil {
		c.t.Fatal(err)
	}
}

// registerAs registers a process, with the password that startServer's user has.
func (c *pushClient) registerAs(realm string, process byte) {
	c.t.Helper()
	state := c.ConnectionState()
	secret, err := state.ExportKeyingMaterial(pushwire.ExporterLabel, nil, 32)
	if err != nil {
		c.t.Fatal(err)
	}
	f := pushwire.Frame{Kind: pushwire.Register, User: "u", Instance: pushwire.Instance{process}}
	f.Proof = pushwire.ClientProof(stun.KeySHA256("u", realm, "p"), [32]byte(secret), f.Instance)
	c.send(f)
	if v := c.next(pushwire.Registered).Verdict; v != pushwire.Accepted {
		c.t.Fatalf("verdict %d", v)
	}
}

// TestTLSPushBesideTURN: TURN over TLS, its data connections and push at one TLS listener, where the kernel has TLS, and reads go record by record, and where it has not. A
// push connection's frames come in records of several, in halves of records and behind each other; its secrets are forgotten, as the kernel never gets it.
func TestTLSPushBesideTURN(t *testing.T) {
	if os.Getenv("TRAVERSE_UML") != "" && !ktls.Available() {
		t.Error("this kernel has TLS, and it is not seen")
	}
	s := startTLS(t, t.TempDir(), func(c *Config) { c.Push = true })
	device := dialPush(t, s.TLSAddrs()[0])
	device.registerAs(s.config.Realm, 1)
	client, _, peer := dataOverTLS(t, s, "early")
	got := make([]byte, 5)
	if _, err := peer.Read(got); err != nil || string(got) != "early" {
		t.Fatalf("the peer got %q, %v", got, err)
	}
	needMode(t, s)

	box := pushwire.Token{7}
	device.send(pushwire.Frame{Kind: pushwire.Mailboxes, Tokens: box[:]}, pushwire.Frame{Kind: pushwire.Ping}) // one record
	device.next(pushwire.Pong)
	caller := dialPush(t, s.TLSAddrs()[0])
	sealed := make([]byte, 992)
	request := pushwire.Append(nil, pushwire.Frame{Kind: pushwire.HandIn, Tag: pushwire.Tag{1}, Token: box, Sealed: sealed})
	for _, part := range [][]byte{request[:2], request[2:500], request[500:]} {
		if _, err := caller.Write(part); err != nil { // a frame in three records
			t.Fatal(err)
		}
	}
	if r := caller.next(pushwire.Outcome).Result; r != pushwire.Pushed {
		t.Fatalf("result %d", r)
	}
	pushed := device.next(pushwire.Push)
	device.send(pushwire.Frame{Kind: pushwire.Answer, Tag: pushed.Tag, Sealed: []byte("answer")})
	if f := caller.next(pushwire.Answer); string(f.Sealed) != "answer" || f.Tag != (pushwire.Tag{1}) {
		t.Errorf("answered %q with tag %v", f.Sealed, f.Tag)
	}
	exchangeBytes(t, client, peer, 1<<20) // the data connection beside is as before
	s.streamsMu.Lock()
	defer s.streamsMu.Unlock()
	for st := range s.streams {
		if st.secure == nil || st.secure.ConnectionState().NegotiatedProtocol != pushwire.ALPN {
			continue
		}
		if e := st.records.exact; e != nil && !e.wide.Load() {
			t.Error("a push connection is read as if it were to become the kernel's")
		}
	}
}
