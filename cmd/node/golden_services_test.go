package main

import (
	"encoding/json"
	"slices"

	"traverse.internal/daemon"
)

// services runs the commands about contacts, services and forwards, between the two homes that are up.
func (h *twoHomes) services(object func(name, raw string)) {
	h.t.Helper()
	object("contact set", h.node("laptop", 0, "contact", "set", "phone", "auto-accept=2GiB", "download-dir="+h.dir+"/from-phone"))
	h.node("laptop", 0, "contact", "set", "phone", "auto-accept=off", "download-dir=off")
	object("expose", h.node("phone", 0, "expose", "web", "127.0.0.1:8080", "--to", "laptop"))
	object("expose ls", h.node("phone", 0, "expose", "ls"))
	made := h.node("laptop", 0, "forward", "phone", "-L", "0:web", "-R", "0:127.0.0.1:3000")
	object("forward", made)
	object("conns", h.node("laptop", 0, "conns"))
	object("ping", h.node("laptop", 0, "ping", "phone", "-c", "1"))
	object("why", h.chosen(h.node("laptop", 0, "why", "phone", "--last", "1")))
	object("netcheck", h.node("laptop", 0, "netcheck"))
	object("doctor", h.steady(h.node("laptop", 20, "doctor")))
	object("channels", h.node("laptop", 0, "channels", "phone"))
	var list daemon.ForwardList
	if err := json.Unmarshal([]byte(made), &list); err != nil {
		h.t.Fatal(err)
	}
	for i, f := range list.Forwards {
		if raw := h.node("laptop", 0, "forward", "rm", f.ID); i == 0 {
			object("forward rm", raw)
		}
	}
}

// chosen leaves one pair in an answer of `why`: how far the others came differs.
func (h *twoHomes) chosen(raw string) string {
	h.t.Helper()
	var w daemon.Why
	if err := json.Unmarshal([]byte(raw), &w); err != nil {
		h.t.Fatal(err)
	}
	if len(w.Attempts) != 1 {
		h.t.Fatalf("%d attempts, want the last one: %s", len(w.Attempts), raw)
	}
	at := &w.Attempts[0]
	at.Pairs = slices.DeleteFunc(at.Pairs, func(p daemon.WhyPair) bool { return p.State != "chosen" })
	if at.Asked == nil || at.Asked.Route == "" || at.Asked.Took == 0 {
		h.t.Fatalf("how the request was carried is not told: %s", raw)
	}
	at.Asked.Route = "direct" // or by slot, on a machine that is busy
	if len(at.Pairs) != 1 {
		h.t.Fatalf("%d pairs are chosen: %s", len(at.Pairs), raw)
	}
	out, err := json.Marshal(w)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(out)
}

// steady leaves those findings in an answer of `doctor` that are the same on every machine.
func (h *twoHomes) steady(raw string) string {
	h.t.Helper()
	var x daemon.Doctor
	if err := json.Unmarshal([]byte(raw), &x); err != nil {
		h.t.Fatal(err)
	}
	x.Findings = slices.DeleteFunc(x.Findings, func(f daemon.Finding) bool {
		return !slices.Contains([]string{"identity", "daemon", "relay"}, f.Check)
	})
	x.Warnings, x.Failures = 0, 1
	out, err := json.Marshal(x)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(out)
}
