// Package mint gives a web application time-limited TURN credentials over HTTP, for its users' browsers.
//
// It answers in the form of draft-uberti-behave-turn-rest, which coturn's users and WebRTC services know:
//
//	GET /?service=turn&username=alice        Authorization: Bearer TOKEN
//
//	{"username": "1735689600:alice", "password": "base64…", "ttl": 3600, "uris": ["turn:relay.example:3478"]}
//
// The application asks, not the browser: who has the token can make credentials for anybody. POST takes the same
// parameters as a form. The token may also come as the draft's parameter key, for applications that know nothing else;
// then it stands in the logs of whatever is between.
//
// # Who may
//
// The token, a client certificate of the configured authority, or, when both are configured, both. Without TLS only
// loopback is listened on. Tokens are compared in constant time. A network that shows wrong ones gets 429 after ten a
// minute, and takes nothing from who shows a right one.
//
// # Limits
//
// 64 connections, 8 KiB of header, 4 KiB of form, times on everything, Config.Rate requests a second in bursts of five
// times as many, and ten wrong tokens a minute answered of one IPv4 /24 or IPv6 /56. Names are at most 256 bytes of printable
// text. Nothing of a request is kept or logged.
package mint
