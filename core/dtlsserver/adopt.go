package dtlsserver

// Agreed is what a handshake that somebody else ran has agreed on.
type Agreed struct {
	Client                     bool   // we are the client
	Suite                      uint16 // 0xc02b, 0xc02c, 0xc02f or 0xc030
	Master                     []byte // secret, 48 bytes
	ClientRandom, ServerRandom []byte // 32 bytes each
	Next                       uint64 // number of our next record in epoch 1
	Final                      []byte // our last flight, to be repeated when the peer asks; nil for a client
}

// Adopt makes a session of the keys of a handshake that is over; false: of a suite that is not ours.
func Adopt(a Agreed) (*Session, bool) {
	for _, k := range suites {
		if k.id != a.Suite {
			continue
		}
		client, server := newHalves(k, a.Master, a.ClientRandom, a.ServerRandom)
		s := &Session{in: client, out: server, next: a.Next, adopted: a.Final}
		if a.Client {
			s.in, s.out = server, client
		}
		if a.Final != nil {
			s.repeats = maxRepeats
		}
		return s, true
	}
	return nil, false
}
