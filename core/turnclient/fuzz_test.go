package turnclient

import (
	"bytes"
	"testing"

	"traverse.internal/core/stun"
)

// Whatever a server sends: a frame is taken off the stream to its last byte and not beyond, it is never longer than
// maxFrame, and sorting it ends in at most one response for the one request that waits.
func FuzzServerBytes(f *testing.F) {
	id := stun.TransactionID{1, 2, 3}
	key := stun.LongTermKey(fakeUser, fakeRealm, fakePassword)
	ok := stun.New(nil, stun.MethodConnect.Success(), id)
	ok.AddUint32(stun.AttrConnectionID, 1)
	ok.AddIntegrity(key)
	f.Add(ok.Bytes())
	no := stun.New(nil, stun.MethodConnect.Error(), id)
	no.AddErrorCode(stun.CodeStaleNonce)
	no.AddText(stun.AttrRealm, fakeRealm)
	no.AddText(stun.AttrNonce, "nonce")
	f.Add(append(no.Bytes(), ok.Bytes()...))
	peer := stun.New(nil, stun.MethodConnectionAttempt.Indication(), id)
	peer.AddUint32(stun.AttrConnectionID, 1)
	peer.AddXORAddr(stun.AttrXORPeerAddress, relayed6)
	f.Add(peer.Bytes())
	f.Add([]byte("HTTP/1.1 400 Bad Request"))

	f.Fuzz(func(t *testing.T, stream []byte) {
		c := &Client{attempts: make(chan attempt, maxAttempts)}
		w := &call{method: stun.MethodConnect, cred: credentials{key: key}, reply: make(chan stun.Message, 1)}
		c.calls = map[stun.TransactionID]*call{id: w}
		r := bytes.NewReader(stream)
		for {
			before := r.Len()
			b, err := readFrame(r)
			if err != nil {
				break
			}
			if before-r.Len() != len(b) || len(b) > maxFrame {
				t.Fatalf("read %d bytes for a frame of %d", before-r.Len(), len(b))
			}
			m, err := stun.Parse(b)
			if err != nil {
				break
			}
			c.deliver(m)
		}
		select {
		case m := <-w.reply:
			if !w.cred.genuine(m) || m.TransactionID() != id {
				t.Fatalf("believed %x", m.Raw)
			}
			if _, err := c.judge(m, true); err == nil && m.CheckIntegrity(key) != nil {
				t.Fatalf("took %x for a success", m.Raw)
			}
			_, _ = w.cred.challenged(m, fakeUser, fakePassword)
		default:
		}
	})
}
