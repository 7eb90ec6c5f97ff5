package turn

import (
	"sync/atomic"

	"traverse.internal/core/stun"
)

// user is who a request says to come from.
type user struct {
	name string
	key  []byte // MD5(name ":" realm ":" password), RFC 8489 §9.2.2
}

// users are the keys of those who may allocate, by name. The set is replaced as a whole.
type users struct {
	realm string
	set   atomic.Pointer[map[string]user]
}

// replace derives the keys of another set.
func (u *users) replace(passwords map[string]string) {
	set := make(map[string]user, len(passwords))
	for name, password := range passwords {
		set[name] = user{name, stun.LongTermKey(name, u.realm, password)}
	}
	u.set.Store(&set)
}

func (u *users) find(name []byte) (user, bool) {
	found, ok := (*u.set.Load())[string(name)]
	return found, ok
}

// SetUsers puts another set of users, name to password, in the place of the present one. Allocations of a user who is
// gone, or has another password, stay until their next request, which gets 401. Safe for concurrent use.
func (s *Server) SetUsers(passwords map[string]string) { s.users.replace(passwords) }
