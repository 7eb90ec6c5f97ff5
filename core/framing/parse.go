package framing

import (
	"math"
	"sync"
)

// Parser parses control messages without allocating for those that come all the time: the *Max, *MaxSession, *Ack and
// *Beacon it returns are its own and valid until the next call. The zero value is ready; it is one goroutine's.
type Parser struct {
	r          reader
	max        Max
	maxSession MaxSession
	ack        Ack
	beacon     Beacon
}

var parsers = sync.Pool{New: func() any { return new(Parser) }}

// ParseMessage is Parser.ParseMessage with a message of its own.
func ParseMessage(body []byte) (Message, error) {
	p := parsers.Get().(*Parser)
	defer parsers.Put(p)
	m, err := p.ParseMessage(body)
	p.r.body = nil
	switch m := m.(type) {
	case *Max:
		c := *m
		return &c, err
	case *MaxSession:
		c := *m
		return &c, err
	case *Ack:
		c := *m
		return &c, err
	case *Beacon:
		c := *m
		return &c, err
	}
	return m, err
}

// ParseMessage parses the body of a frame on channel 0xffff. Fields that are not known are skipped. Errors are a
// *ProtocolError or a *CriticalError. Nothing returned refers to body.
func (p *Parser) ParseMessage(body []byte) (Message, error) {
	r := &p.r
	r.reset(body, "session message")
	if len(body) > MaxControl {
		return nil, r.fail("longer than 4096")
	}
	n, err := r.mapLen()
	if err != nil {
		return nil, err
	}
	m, err := p.readType(n)
	if err != nil {
		return nil, err
	}
	s := spec{known: 1 << keyCritical} // of a type that we do not know
	if t := m.MessageType(); int(t) < len(specs) {
		s = specs[t]
		r.what = s.name
	}
	seen, err := p.readFields(m, s, n-1)
	if err != nil {
		return nil, err
	}
	if seen&s.required != s.required {
		return nil, r.fail("a field is missing")
	}
	if hello, ok := m.(*Hello); ok {
		if what := hello.check(); what != "" {
			return nil, r.fail(what)
		}
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

// readType reads field 0, the first of n, and returns an empty message of that type.
func (p *Parser) readType(n int) (Message, error) {
	if n == 0 {
		return nil, p.r.fail("no type")
	}
	key, err := p.r.uint(math.MaxUint64)
	if err != nil {
		return nil, err
	}
	if key != keyType {
		return nil, p.r.fail("the type is not first")
	}
	t, err := p.r.uint(math.MaxUint16)
	if err != nil {
		return nil, err
	}
	switch Type(t) {
	case TypeRequest:
		return nil, p.r.fail("type 0")
	case TypeHello:
		return new(Hello), nil
	case TypeMax:
		p.max = Max{}
		return &p.max, nil
	case TypeMaxSession:
		p.maxSession = MaxSession{}
		return &p.maxSession, nil
	case TypeAck:
		p.ack = Ack{}
		return &p.ack, nil
	case TypeBeacon:
		p.beacon = Beacon{}
		return &p.beacon, nil
	case TypeReset:
		return new(Reset), nil
	case TypeGoAway:
		return new(GoAway), nil
	case TypeResume:
		return new(Resume), nil
	}
	return &Unknown{Type: Type(t)}, nil
}

// readFields reads the n fields after the type into m and returns the keys of s it has seen. Keys grow from one field
// to the next, so that none comes twice.
func (p *Parser) readFields(m Message, s spec, n int) (seen uint64, err error) {
	seen = 1 << keyType
	last := uint64(keyType)
	for range n {
		key, err := p.r.uint(math.MaxUint64)
		if err != nil {
			return 0, err
		}
		if key <= last {
			return 0, p.r.fail("keys do not ascend")
		}
		last = key
		switch {
		case key == keyCritical:
			err = p.readCritical(m.MessageType(), s)
		case key < 64 && s.known&(1<<key) != 0:
			seen |= 1 << key
			err = p.readField(m, key)
		default:
			err = p.r.skip(MaxDepth)
		}
		if err != nil {
			return 0, err
		}
	}
	return seen, nil
}

// readCritical reads the list of keys that must be understood.
func (p *Parser) readCritical(t Type, s spec) error {
	n, err := p.r.arrayLen()
	if err != nil {
		return err
	}
	for range n {
		key, err := p.r.uint(math.MaxUint64)
		if err != nil {
			return err
		}
		if key >= 64 || s.known&(1<<key) == 0 {
			return &CriticalError{Type: t, Key: key}
		}
	}
	return nil
}

// readField reads the value of a key that m's spec knows.
func (p *Parser) readField(m Message, key uint64) (err error) {
	r := &p.r
	switch m := m.(type) {
	case *Max:
		if key == 2 {
			m.Channel, err = p.readChannel()
		} else {
			m.Offset, err = r.uint(MaxOffset)
		}
	case *MaxSession:
		m.Offset, err = r.uint(MaxOffset)
	case *Ack:
		m.Count, err = r.uint(MaxOffset)
	case *Beacon:
		if key == 2 {
			m.Nonce, err = r.uint(math.MaxUint64)
		} else {
			m.Answer, err = r.bool()
		}
	case *Hello:
		return p.readHello(m, key)
	case *Reset:
		switch key {
		case 2:
			m.Channel, err = p.readChannel()
		case 3:
			m.Code, err = p.readCode()
		case 4:
			m.Reason, err = r.reason()
		}
	case *GoAway:
		if key == 2 {
			m.Code, err = p.readCode()
		} else {
			m.Reason, err = r.reason()
		}
	case *Resume:
		var n uint64
		switch key {
		case 2:
			err = r.bin(m.SessionID[:])
		case 3:
			n, err = r.uint(math.MaxUint32)
			m.Epoch = uint32(n)
		case 4:
			m.Received, err = r.uint(MaxOffset)
		case 5:
			err = r.bin(m.MAC[:])
		}
	}
	return err
}

// readHello reads one field of a HELLO. The limits are checked when all are there.
func (p *Parser) readHello(m *Hello, key uint64) (err error) {
	r := &p.r
	var n uint64
	switch key {
	case 2:
		n, err = r.uint(math.MaxUint16)
		m.Version = uint16(n)
	case 3:
		err = r.bin(m.SessionID[:])
	case 4:
		m.Capabilities, err = r.uint(math.MaxUint64)
	case 5:
		n, err = r.uint(math.MaxUint32)
		m.MaxBody = uint32(n)
	case 6:
		m.InitialWindow, err = r.uint(MaxOffset)
	case 7:
		m.SessionWindow, err = r.uint(MaxOffset)
	case 8:
		n, err = r.uint(math.MaxUint32)
		m.MaxChannels = uint32(n)
	case 9:
		m.AccountLists, err = p.readAccounts()
	}
	return err
}

// readAccounts reads the array of [account, version] pairs.
func (p *Parser) readAccounts() ([]AccountVersion, error) {
	n, err := p.r.arrayLen()
	switch {
	case err != nil:
		return nil, err
	case n > MaxAccounts:
		return nil, p.r.fail("more than 32 account lists")
	case n == 0:
		return nil, nil
	}
	lists := make([]AccountVersion, n)
	for i := range lists {
		pair, err := p.r.arrayLen()
		if err != nil {
			return nil, err
		}
		if pair != 2 {
			return nil, p.r.fail("account list is not a pair")
		}
		if err := p.r.bin(lists[i].Account[:]); err != nil {
			return nil, err
		}
		if lists[i].Version, err = p.r.uint(math.MaxUint64); err != nil {
			return nil, err
		}
	}
	return lists, nil
}

// readChannel reads a data channel's number.
func (p *Parser) readChannel() (ChannelID, error) {
	n, err := p.r.uint(math.MaxUint16)
	if err != nil {
		return 0, err
	}
	if what := checkChannel(ChannelID(n)); what != "" {
		return 0, p.r.fail(what)
	}
	return ChannelID(n), nil
}

func (p *Parser) readCode() (Code, error) {
	n, err := p.r.uint(math.MaxUint16)
	return Code(n), err
}
