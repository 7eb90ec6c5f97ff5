package turn

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"traverse.internal/core/stun"
)

// maxSecrets that time-limited credentials may be made of: the present one, and old ones while theirs run out. Each costs
// an unknown user's request four hashes.
const maxSecrets = 4

// Keys are what a server needs of a user's password: RFC 8489 §9.2.2 and §18.5.1. They are good for one realm, and whoever
// has them can log in there.
type Keys struct {
	MD5    [16]byte
	SHA256 [32]byte
}

// DeriveKeys makes a user's keys.
func DeriveKeys(name, realm, password string) Keys {
	return Keys{
		MD5:    [16]byte(stun.LongTermKey(name, realm, password)),
		SHA256: [32]byte(stun.KeySHA256(name, realm, password)),
	}
}

// Mint makes credentials that are good until expires: the name is "expiry:user", with the expiry in Unix seconds, and the
// password the base64 of its HMAC-SHA1 by the secret. The scheme is draft-uberti-behave-turn-rest's, which coturn and
// every WebRTC service know; a server with the secret in Config.Secrets accepts them.
func Mint(secret, user string, expires time.Time) (name, password string) {
	name = strconv.FormatInt(expires.Unix(), 10) + ":" + user
	return name, restPassword(secret, name)
}

func restPassword(secret, name string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(name)) // never fails
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// user is who a request says to come from.
type user struct {
	name string // that allocations and quotas are counted by; of a time-limited one without its expiry
	keys Keys
}

// users are the keys of those who may allocate. The set is replaced as a whole.
type users struct {
	realm string
	set   atomic.Pointer[userSet]
}

type userSet struct {
	byName  map[string]user
	byHash  map[[32]byte]string // USERHASH to name
	secrets []string
}

// replace derives the keys of another set.
func (u *users) replace(passwords map[string]string, keys map[string]Keys, secrets []string) {
	set := userSet{byName: make(map[string]user, len(passwords)+len(keys)), secrets: secrets}
	for name, key := range keys {
		set.byName[name] = user{name, key}
	}
	for name, password := range passwords {
		set.byName[name] = user{name, DeriveKeys(name, u.realm, password)}
	}
	set.byHash = make(map[[32]byte]string, len(set.byName))
	for name := range set.byName {
		set.byHash[stun.Userhash(name, u.realm)] = name
	}
	u.set.Store(&set)
}

// unhash returns whose USERHASH it is, or "": RFC 8489 §9.2.4. Nobody knows time-limited names before they come, so those
// cannot be hashed.
func (u *users) unhash(hash [32]byte) string { return u.set.Load().byHash[hash] }

// find appends who the name may stand for: one user, or as many as there are secrets, or nobody. A time-limited name is
// good until its expiry, and after that for what is no new allocation: a call does not end in its middle.
func (u *users) find(dst []user, name []byte, now time.Time, allocates bool) (found []user, expired bool) {
	set := u.set.Load()
	if who, ok := set.byName[string(name)]; ok {
		return append(dst, who), false
	}
	digits, rest, ok := bytes.Cut(name, []byte(":"))
	if !ok || len(set.secrets) == 0 {
		return dst, false
	}
	expiry, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || strings.HasPrefix(string(digits), "+") {
		return dst, false
	}
	if allocates && now.Unix() >= expiry {
		return dst, true
	}
	full := string(name)
	short := string(rest)
	if short == "" {
		short = full
	}
	for _, secret := range set.secrets {
		dst = append(dst, user{short, DeriveKeys(full, u.realm, restPassword(secret, full))})
	}
	return dst, false
}

// SetUsers puts another set of users, name to password, in the place of the present one; users by key and secrets stay.
// Allocations of a user who is gone, or has another password, stay until their next request, which gets 401. Safe for
// concurrent use.
func (s *Server) SetUsers(passwords map[string]string) {
	s.reloads.Lock()
	defer s.reloads.Unlock()
	s.config.Users = passwords
	s.users.replace(passwords, s.config.Keys, s.config.Secrets)
}
