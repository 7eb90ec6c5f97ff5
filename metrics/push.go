package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"traverse.internal/signalling/relay"
	"traverse.internal/turn"
)

// newPush is a device's side of signalling by push.
func newPush(read func() relay.Stats) prometheus.Collector {
	up := gauge("node_push_registrations", "Relays that hand requests to this device now.")
	registered := counter("node_push_registrations_total", "Registrations at relays, made and lost; what is not made counts as lost.", "what")
	requests := counter("node_push_requests_total", "Requests that came by push; flooded are those dropped because there were too many.", "what")
	handed := counter("node_push_calls_total", "Own requests handed to a contact's relay, by what became of them.", "outcome")
	answers := counter("node_push_answers_total", "Answers that came back through a contact's relay.")
	return collector{[]family{up, registered, requests, handed, answers}, func(s scrape) {
		st := read()
		s.add(up, float64(st.Up))
		s.count(registered, st.Registered, "made")
		s.count(registered, st.Lost, "lost")
		s.count(requests, st.Received, "received")
		s.count(requests, st.Flooded, "flooded")
		s.count(handed, st.Pushed, "pushed")
		s.count(handed, st.NotHere, "not_here")
		s.count(handed, st.Busy, "busy")
		s.count(handed, st.Unreached, "unreached")
		s.count(answers, st.Answers)
	}}
}

// newPusher is the relay's side.
func newPusher(read func() turn.Stats) prometheus.Collector {
	registrations := gauge("turnd_push_registrations", "Devices that wait for requests by push.")
	mailboxes := gauge("turnd_push_mailboxes", "Mailboxes of those devices, one or two a contact.")
	requests := counter("turnd_push_requests_total", "Requests handed in, by what became of them; slow is a device that does not read.", "outcome")
	answers := counter("turnd_push_answers_total", "Answers of devices; unasked are those that nobody waits for.", "what")
	ended := counter("turnd_push_refusals_total", "Registrations refused, connections replaced by a newer one of their device, and connections ended for what they sent.", "reason")
	return collector{[]family{registrations, mailboxes, requests, answers, ended}, func(s scrape) {
		st := read().Push
		if st == nil {
			return
		}
		s.add(registrations, float64(st.Registrations))
		s.add(mailboxes, float64(st.Mailboxes))
		s.count(requests, st.Pushed, "pushed")
		s.count(requests, st.NotHere, "not_here")
		s.count(requests, st.Limited, "limited")
		s.count(requests, st.Slow, "slow")
		s.count(answers, st.Answers, "handed")
		s.count(answers, st.Unasked, "unasked")
		s.count(ended, st.Refused, "refused")
		s.count(ended, st.Replaced, "replaced")
		s.count(ended, st.Bad, "bad")
	}}
}
