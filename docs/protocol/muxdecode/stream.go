package muxdecode

import "fmt"

// Header decodes the 4 bytes in front of a body (section 2).
func Header(b []byte) (length int, channel uint16, err error) {
	if len(b) < 4 {
		return 0, 0, Error{Kind: "short"}
	}
	length = int(b[0])<<8 | int(b[1])
	channel = uint16(b[2])<<8 | uint16(b[3])
	if (channel == 0 || channel == 0xffff) && (length == 0 || length > maxControl) {
		return 0, 0, malformed
	}
	return length, channel, nil
}

// Stream decodes what one side sent over a link. Each frame is a line in the words of the vectors; the last line is the
// error that ended it, or the bytes of a frame that has not arrived whole.
func Stream(b []byte) []string {
	var lines []string
	for len(b) > 0 {
		length, channel, err := Header(b)
		if err == nil && len(b) < 4+length || err == (Error{Kind: "short"}) {
			return append(lines, fmt.Sprintf("is rest=%x", b))
		}
		text := ""
		if err == nil {
			text, err = frame(channel, b[4:4+length])
		}
		if err != nil {
			return append(lines, "error "+err.Error())
		}
		lines = append(lines, "is "+text)
		b = b[4+length:]
	}
	return lines
}

// frame decodes a body by its channel.
func frame(channel uint16, body []byte) (string, error) {
	switch {
	case channel == 0:
		return Request(body)
	case channel == 0xffff:
		return Message(body)
	case len(body) == 0:
		return fmt.Sprintf("channel=%04x EOF", channel), nil
	}
	return fmt.Sprintf("channel=%04x data=%x", channel, body), nil
}
