package alloc

import (
	"errors"
	"fmt"
	"time"
)

// Fixed times of the standards.
const (
	// DefaultLifetime is what an allocation gets that asks for nothing or for less. RFC 8656 §3.2.
	DefaultLifetime = 600 * time.Second
	// PermissionLifetime is exact, and only CreatePermission and ChannelBind start it anew. RFC 8656 §9.
	PermissionLifetime = 300 * time.Second
	// ChannelLifetime counts from the last ChannelBind. RFC 8656 §12.
	ChannelLifetime = 600 * time.Second
	// ReservationLifetime is how long an even port's partner waits for its token. RFC 8656 §7.2 says 30 s at least.
	ReservationLifetime = 30 * time.Second
	// BindTimeout is how long a peer connection waits for its ConnectionBind. RFC 6062 §5.2 and §5.3.
	BindTimeout = 30 * time.Second
)

// Limits bound everything that grows. A zero field means its default.
type Limits struct {
	// Allocations of the whole server, reservations included; more get 508. Default 10,000: at 1 socket each within
	// half of the 20,000 descriptors a process commonly has, the rest being TCP clients and data connections.
	Allocations int
	// PerUser allocations and reservations; more get 486. Default 512: a household's 20 devices with 2 families and 12
	// attempts at once each are 480, and one stolen password still takes only 1 in 32 of the 16,384 ports of the
	// default range.
	PerUser int
	// PerSource allocations and reservations of one IPv4 address or one IPv6 /56; more get 486. Default 1,024: two full
	// users behind one NAT.
	PerSource int
	// Permissions of one allocation; more get 508. Default 256: a call's candidates are tens, and a scan of a /24 fills
	// it once in 300 s.
	Permissions int
	// Channels of one allocation; more get 508. Default 256, as each brings a permission.
	Channels int
	// UserPermissions and UserChannels are those of all allocations of one user, SourcePermissions and SourceChannels those
	// of one source; more get 508. One that ended counts until its allocation is refreshed, needs its room or ends.
	// Defaults 16,384, 16,384, 32,768 and 32,768: 64 full allocations a user, at 300 B each 5 MB, and twice that a source.
	UserPermissions, UserChannels, SourcePermissions, SourceChannels int
	// UserPeers and SourcePeers are the new peers a minute of one user and one source: new permissions, and Connects. That
	// many may also come at once. More get 508. Defaults 1,200 and 2,400: twenty devices that try a call's 60 candidates in
	// one minute; to scan a /16 takes 54 minutes.
	UserPeers, SourcePeers int
	// UserRate, SourceRate and Rate are the bytes a second that a user, a source and the server relay in each direction,
	// payload only, in bursts of what a second brings. Datagrams beyond it are dropped, TCP waits. Default 0: no limit.
	UserRate, SourceRate, Rate int64
	// Conns are the peer connections of one TCP allocation, dialling, waiting and bound together; more get 508 (or, from
	// the peer, a refusal). Default 64: real clients use at most 8.
	Conns int
	// MaxLifetime of an allocation; who asks for more gets this. Default 3600 s, RFC 8656 §7.2. At most 4000 s: the timer
	// wheel has 4096 slots.
	MaxLifetime time.Duration
	// MaxChannel is the highest channel number. Default 0x4fff, RFC 8656 §12. RFC 5766 had 0x7fff.
	MaxChannel uint16
}

// WithDefaults returns the limits with every zero field filled in.
func (l Limits) WithDefaults() Limits {
	def := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	def(&l.Allocations, 10_000)
	def(&l.PerUser, 512)
	def(&l.PerSource, 1024)
	def(&l.Permissions, 256)
	def(&l.Channels, 256)
	def(&l.Conns, 64)
	def(&l.UserPermissions, 16_384)
	def(&l.UserChannels, 16_384)
	def(&l.SourcePermissions, 32_768)
	def(&l.SourceChannels, 32_768)
	def(&l.UserPeers, 1200)
	def(&l.SourcePeers, 2400)
	if l.MaxLifetime == 0 {
		l.MaxLifetime = time.Hour
	}
	if l.MaxChannel == 0 {
		l.MaxChannel = 0x4fff
	}
	return l
}

// Metered says whether any rate is limited.
func (l Limits) Metered() bool { return l.UserRate > 0 || l.SourceRate > 0 || l.Rate > 0 }

// Check names the first field that is wrong. Zero fields are right.
func (l Limits) Check() error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"allocations", l.Allocations},
		{"per user", l.PerUser},
		{"per source", l.PerSource},
		{"permissions", l.Permissions},
		{"channels", l.Channels},
		{"connections", l.Conns},
		{"permissions per user", l.UserPermissions},
		{"channels per user", l.UserChannels},
		{"permissions per source", l.SourcePermissions},
		{"channels per source", l.SourceChannels},
		{"new peers per user", l.UserPeers},
		{"new peers per source", l.SourcePeers},
		{"rate per user", int(l.UserRate)},
		{"rate per source", int(l.SourceRate)},
		{"rate", int(l.Rate)},
	} {
		if f.value < 0 {
			return fmt.Errorf("alloc: limit %s is negative", f.name)
		}
	}
	if l.MaxLifetime != 0 && (l.MaxLifetime < DefaultLifetime || l.MaxLifetime > 4000*time.Second) {
		return errors.New("alloc: longest lifetime is not within 600 s and 4000 s")
	}
	if l.MaxChannel != 0 && (l.MaxChannel < MinChannel || l.MaxChannel > 0x7fff) {
		return errors.New("alloc: highest channel is not within 0x4000 and 0x7fff")
	}
	return nil
}

// Lifetime applies the rule of RFC 8656 §7.2: the request's wish in seconds, not below the default, not above the
// largest. The wish 0, or none, gives the default; that 0 deletes in a Refresh is the caller's business.
func (l Limits) Lifetime(seconds uint32) time.Duration {
	return min(max(time.Duration(seconds)*time.Second, DefaultLifetime), l.MaxLifetime)
}
