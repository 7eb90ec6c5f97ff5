package main

import (
	"encoding/json"
	"strings"
	"time"
)

// accounts is what commands about contacts, devices and invitations print, and those that end something.
func (h *twoHomes) accounts(object func(name, raw string), bootstrap string) {
	h.t.Helper()
	for _, home := range []string{"desk", "tablet"} {
		h.node(home, 0, "init", "--name", home)
		h.up(home, "--bootstrap", bootstrap)
	}
	ticket := func(raw string) string {
		var made struct {
			Ticket string `json:"ticket"`
		}
		if err := json.Unmarshal([]byte(raw), &made); err != nil || made.Ticket == "" {
			h.t.Fatalf("no ticket in %s: %v", raw, err)
		}
		return made.Ticket
	}
	object("contact show", h.connected("laptop", "contact", "show", "phone"))
	object("contact trust", h.connected("laptop", "contact", "trust", "phone", h.id("phone")))
	object("contact rename", h.node("laptop", 0, "contact", "rename", "phone", "mobile"))
	object("kick", h.node("laptop", 0, "kick", "mobile"))
	object("contact block", h.node("laptop", 0, "contact", "block", "mobile"))
	invited := h.node("laptop", 0, "invite", "--name", "desk")
	object("invite", invited)
	object("join", h.node("desk", 0, "join", ticket(invited)))
	linked := h.node("laptop", 0, "device", "link")
	object("device link", linked)
	object("device join", h.node("tablet", 0, "join", ticket(linked)))
	object("device ls", h.connected("laptop", "device", "ls"))
	object("device rename", h.node("laptop", 0, "device", "rename", "tablet", "slate"))
	object("id revoke", h.node("tablet", 0, "id", "revoke"))
	h.node("desk", 0, "stop") // so that somebody does not hear of the laptop's next key
	object("id rotate", h.node("laptop", 18, "id", "rotate", "--wait", "1ms"))
	h.node("laptop", 0, "id", "rotate", "--cancel")
	h.node("tablet", 0, "join", ticket(h.node("laptop", 0, "device", "link")))
	object("device revoke", h.node("laptop", 0, "device", "revoke", "tablet"))
	object("contact rm", h.node("laptop", 0, "contact", "rm", "desk"))
	object("transfers gc", h.node("laptop", 0, "transfers", "gc"))
	object("reload", h.node("laptop", 0, "reload"))
	object("stop", h.node("tablet", 0, "stop"))
}

// connected runs a command until what it shows is connected.
func (h *twoHomes) connected(home string, args ...string) string {
	h.t.Helper()
	deadline := time.Now().Add(goldenTimeout)
	for {
		raw := h.node(home, 0, args...)
		if strings.Contains(raw, `"state":"connected"`) {
			return raw
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%v: not connected: %s", args, raw)
		}
		<-time.After(20 * time.Millisecond)
	}
}
