package udp

import "os"

// AdoptShards makes shards of sockets that are bound already to one address, which somebody else opened, and binds more of
// them where the system lets it. There can be fewer than n in the end: another user's sockets cannot be joined. The files
// are used up.
func AdoptShards(files []*os.File, n int, o Options) ([]*Conn, error) {
	var conns []*Conn
	var failed error
	for _, f := range files {
		c, err := adopt(f, o)
		f.Close()
		if err != nil {
			failed = err
			continue
		}
		conns = append(conns, c)
	}
	if failed != nil {
		for _, c := range conns {
			c.Close()
		}
		return nil, failed
	}
	if !canShare || len(conns) == 0 || conns[0].share() != nil {
		return conns, nil
	}
	for len(conns) < n {
		c, err := listen(conns[0].local, o, true)
		if err != nil {
			break
		}
		conns = append(conns, c)
	}
	return conns, nil
}
