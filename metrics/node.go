package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"traverse.internal/signalling"
	"traverse.internal/transfer"
)

func newTransfers(read func() transfer.Stats) prometheus.Collector {
	total := counter("node_transfer_total", "Transfers that have ended, by how.", "dir", "state")
	active := gauge("node_transfers_active", "Transfers begun and not ended, pending offers included.", "dir")
	bytes := counter("node_transfer_bytes_total", "Bytes of file bodies moved, also by transfers that failed later.", "dir")
	resumed := counter("node_transfer_resumed_total", "Conversations about a transfer that went on where an earlier one had ended.", "dir")
	kept := counter("node_transfer_resumed_bytes_total", "Bytes that were there from an earlier conversation and did not move again.", "dir")
	verified := counter("node_transfer_chunks_verified_total", "Chunks that came and matched their digest.")
	return collector{[]family{total, active, bytes, resumed, kept, verified}, func(s scrape) {
		st := read()
		for dir, d := range map[string]transfer.DirectionStats{"send": st.Send, "receive": st.Receive} {
			for state, n := range d.Outcomes {
				s.count(total, n, dir, state)
			}
			s.add(active, float64(d.Active), dir)
			s.count(bytes, d.Bytes, dir)
			s.count(resumed, d.Resumed, dir)
			s.count(kept, d.Kept, dir)
		}
		s.count(verified, st.Receive.Verified)
	}}
}

func newSignalling(read func() signalling.Stats) prometheus.Collector {
	calls := counter("node_signal_calls_total", "Calls to other devices that have ended, by how.", "outcome")
	pending := gauge("node_signal_calls_active", "Calls begun and not ended.")
	requests := counter("node_signal_requests_total", "Calls from other devices, by what became of them.", "outcome")
	dropped := counter("node_signal_dropped_total", "Sealed messages that led to nothing, by why.", "reason")
	replyErrors := counter("node_signal_reply_errors_total", "Ways back to a caller that failed; others may have worked.")
	notices := counter("node_notices_total", "Notices that a device is here now: made for contacts and carried to them; of contacts, taken and limited for coming too often.", "what")
	return collector{[]family{calls, pending, requests, dropped, replyErrors, notices}, func(s scrape) {
		st := read()
		s.count(notices, st.Notices, "made")
		s.count(notices, st.NoticesCarried, "carried")
		s.count(notices, st.NoticesTaken, "taken")
		s.count(notices, st.NoticesLimited, "limited")
		s.count(calls, st.CallsAnswered, "answered")
		s.count(calls, st.CallsFailed, "failed")
		s.add(pending, float64(less(st.Calls, st.CallsAnswered+st.CallsFailed)))
		s.count(requests, st.Answers, "answered")
		s.count(requests, st.Declined, "declined")
		s.count(dropped, st.Repeated, "repeated")
		s.count(dropped, st.Refused, "stranger")
		s.count(dropped, st.ReplayFull, "replay_full")
		s.count(dropped, st.Busy, "busy")
		s.count(dropped, st.NotServing, "not_serving")
		s.count(dropped, st.UnwantedAnswers, "unwanted_answer")
		s.count(dropped, st.Expired, "expired")
		s.count(dropped, st.Bad, "bad")
		s.count(replyErrors, st.ReplyErrors)
	}}
}

// Woken is what notices of contacts have set going.
type Woken struct{ Transfers, Sessions uint64 }

func newWoken(read func() Woken) prometheus.Collector {
	woken := counter("node_notices_woken_total", "Transfers that waited and sessions without a link that a contact's notice has set going.", "what")
	return collector{[]family{woken}, func(s scrape) {
		st := read()
		s.count(woken, st.Transfers, "transfer")
		s.count(woken, st.Sessions, "session")
	}}
}

// Account is what a node knows of its account; the zero value is a node without one.
type Account struct {
	Devices int
	Expires time.Time // of the device list
}

func newAccount(read func() Account) prometheus.Collector {
	devices := gauge("node_account_devices", "Devices of the account; 0 where the node is a party of its own.")
	expiry := gauge("node_account_list_expiry_timestamp_seconds", "When the account's device list ends unless its signer renews it, in Unix time.")
	return collector{[]family{devices, expiry}, func(s scrape) {
		a := read()
		s.add(devices, float64(a.Devices))
		if a.Devices > 0 {
			s.add(expiry, float64(a.Expires.Unix()))
		}
	}}
}

// less is a minus b, and 0 when the two were read at different instants. Only for
// gauges: a counter must not come out of a difference, since it could fall.
func less(a, b uint64) uint64 { return a - min(a, b) }
