package framing

import "errors"

// ParseChannelRequest is Parser.ParseChannelRequest.
func ParseChannelRequest(body []byte) (ChannelRequest, error) {
	p := parsers.Get().(*Parser)
	defer parsers.Put(p)
	m, err := p.ParseChannelRequest(body)
	p.r.body = nil
	return m, err
}

// Fields of a ChannelRequest, as bits.
const (
	requestID = 1 << iota
	requestName
	requestIsAnswer
	requestAccepted
	requestReason
)

// ParseChannelRequest parses the body of a frame on channel 0. Fields that are not known are skipped. Errors are a
// *ProtocolError, or, when all is well but a request's name, a *NameError with the channel's number. Nothing returned
// refers to body.
func (p *Parser) ParseChannelRequest(body []byte) (ChannelRequest, error) {
	r := &p.r
	r.reset(body, specs[TypeRequest].name)
	if len(body) > MaxControl {
		return ChannelRequest{}, r.fail("longer than 4096")
	}
	n, err := r.mapLen()
	if err != nil {
		return ChannelRequest{}, err
	}
	var q ChannelRequest
	var nameErr *NameError
	seen := 0
	for range n {
		key, err := r.strBytes()
		if err != nil {
			return ChannelRequest{}, err
		}
		field := 0
		switch string(key) {
		case "id":
			field = requestID
			q.ID, err = p.readChannel()
		case "name":
			field = requestName
			q.Name, nameErr, err = p.readName()
		case "isAnswer":
			field = requestIsAnswer
			q.IsAnswer, err = r.bool()
		case "accepted":
			field = requestAccepted
			q.Accepted, err = r.bool()
		case "reason":
			field = requestReason
			q.Reason, err = r.reason()
		default:
			err = r.skip(MaxDepth)
		}
		if err != nil {
			return ChannelRequest{}, err
		}
		if seen&field != 0 {
			return ChannelRequest{}, r.fail("a field comes twice")
		}
		seen |= field
	}
	if err := r.end(); err != nil {
		return ChannelRequest{}, err
	}
	if what := checkRequest(q, seen); what != "" {
		return ChannelRequest{}, r.fail(what)
	}
	switch {
	case nameErr == nil:
		return q, nil
	case q.IsAnswer:
		return ChannelRequest{}, r.fail("name " + nameErr.What)
	}
	nameErr.Channel = q.ID
	return ChannelRequest{}, nameErr
}

// checkRequest returns what is wrong with the set of fields seen.
func checkRequest(q ChannelRequest, seen int) string {
	const always = requestID | requestName | requestIsAnswer
	switch {
	case seen&always != always:
		return "a field is missing"
	case q.IsAnswer && seen&requestAccepted == 0:
		return "an answer without accepted"
	case !q.IsAnswer && seen&(requestAccepted|requestReason) != 0:
		return "a request with an answer's fields"
	case q.Accepted && seen&requestReason != 0:
		return "accepted with a reason"
	}
	return ""
}

// readName reads a channel's name; whether it may be one is the second result.
func (p *Parser) readName() (string, *NameError, error) {
	s, err := p.r.strBytes()
	if err != nil {
		return "", nil, err
	}
	if len(s) > MaxName { // before it is copied
		s = s[:MaxName+1]
	}
	name := string(s)
	var bad *NameError
	errors.As(CheckName(name), &bad)
	return name, bad, nil
}
