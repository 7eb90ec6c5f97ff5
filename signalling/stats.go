package signalling

import "sync/atomic"

// stats are the Signaler's counters.
type stats struct {
	calls, callsAnswered, callsFailed               atomic.Uint64
	requests, answers, declined                     atomic.Uint64
	repeated, refused, replayFull, busy             atomic.Uint64
	notServing, unwanted, expired, bad, replyErrors atomic.Uint64
	notices, noticesCarried                         atomic.Uint64
	noticesTaken, noticesLimited                    atomic.Uint64
}

// Stats is a copy of the counters since New.
type Stats struct {
	Calls         uint64 // calls begun
	CallsAnswered uint64
	CallsFailed   uint64 // given up by the caller, or not answered in time

	Requests uint64 // requests handed to the handler
	Answers  uint64 // and answered
	Declined uint64 // and not answered, because the handler said so

	Repeated   uint64 // requests whose id was known: retransmissions, second routes and replays
	Refused    uint64 // requests from senders that are not allowed
	ReplayFull uint64 // requests refused because the replay cache had no place for them
	Busy       uint64 // requests dropped because 64 were being handled
	NotServing uint64 // requests that came while nobody served

	Notices        uint64 // notices made for contacts
	NoticesCarried uint64 // and handed over, to a relay or to the contact
	NoticesTaken   uint64 // notices of contacts
	NoticesLimited uint64 // and those that came too often

	UnwantedAnswers uint64 // answers nobody waited for: second, late, or from somebody else
	Expired         uint64 // messages too old, or made to live too long
	Bad             uint64 // messages that did not open or verify
	ReplyErrors     uint64 // ways back that failed; the others may have worked
}

// Stats returns the counters.
func (s *Signaler) Stats() Stats {
	c := &s.stats
	return Stats{
		Calls: c.calls.Load(), CallsAnswered: c.callsAnswered.Load(), CallsFailed: c.callsFailed.Load(),
		Requests: c.requests.Load(), Answers: c.answers.Load(), Declined: c.declined.Load(),
		Repeated: c.repeated.Load(), Refused: c.refused.Load(), ReplayFull: c.replayFull.Load(), Busy: c.busy.Load(),
		NotServing: c.notServing.Load(), UnwantedAnswers: c.unwanted.Load(), Expired: c.expired.Load(),
		Notices: c.notices.Load(), NoticesCarried: c.noticesCarried.Load(), NoticesTaken: c.noticesTaken.Load(), NoticesLimited: c.noticesLimited.Load(),
		Bad: c.bad.Load(), ReplyErrors: c.replyErrors.Load(),
	}
}
