package framing

import (
	"fmt"
	"strings"
)

// The messages print as docs/protocol/testdata/mux-vectors.txt writes them, for traces and tests.

func (m *ChannelRequest) String() string {
	s := fmt.Sprintf("ChannelRequest id=%04x name=%q isAnswer=%t", uint16(m.ID), m.Name, m.IsAnswer)
	if m.IsAnswer {
		s += fmt.Sprintf(" accepted=%t reason=%q", m.Accepted, m.Reason)
	}
	return s
}

func (m *Hello) String() string {
	lists := make([]string, 0, len(m.AccountLists))
	for _, a := range m.AccountLists {
		lists = append(lists, fmt.Sprintf("%x:%d", a.Account, a.Version))
	}
	return fmt.Sprintf("HELLO version=%d session=%x capabilities=%d body=%d window=%d sessionWindow=%d channels=%d accounts=[%s]",
		m.Version, m.SessionID, m.Capabilities, m.MaxBody, m.InitialWindow, m.SessionWindow, m.MaxChannels, strings.Join(lists, " "))
}

func (m *Max) String() string {
	return fmt.Sprintf("MAX channel=%04x offset=%d", uint16(m.Channel), m.Offset)
}

func (m *MaxSession) String() string { return fmt.Sprintf("MAX_SESSION offset=%d", m.Offset) }

func (m *Ack) String() string { return fmt.Sprintf("ACK count=%d", m.Count) }

func (m *Beacon) String() string { return fmt.Sprintf("BEACON nonce=%d answer=%t", m.Nonce, m.Answer) }

func (m *Reset) String() string {
	return fmt.Sprintf("RESET channel=%04x code=%d reason=%q", uint16(m.Channel), uint16(m.Code), m.Reason)
}

func (m *GoAway) String() string {
	return fmt.Sprintf("GOAWAY code=%d reason=%q", uint16(m.Code), m.Reason)
}

func (m *Resume) String() string {
	return fmt.Sprintf("RESUME session=%x epoch=%d received=%d mac=%x", m.SessionID, m.Epoch, m.Received, m.MAC)
}

func (m *Unknown) String() string { return fmt.Sprintf("UNKNOWN type=%d", uint16(m.Type)) }
