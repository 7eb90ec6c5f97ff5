package arch

// anyAbove, as the allowed imports of a package, stands for every package in a row above its own.
const anyAbove = "*"

// arrows lists every package from the bottom up with the packages of ours that it may import. Test files are free:
// a test may put any two parts together, as long as Go itself sees no cycle.
var arrows = []struct {
	pkg    string
	allows []string
}{
	{"core/reason", nil},
	{"core/bufpool", nil},
	{"core/stun", nil},
	{"core/pushwire", nil},
	{"core/zerocopy", nil},
	{"core/treehash", nil},
	{"core/ktls", nil},
	{"core/dtlsserver", nil},
	{"identity", nil},
	{"config", nil},
	{"turn/alloc", nil},
	{"turn/push", []string{"core/pushwire"}},
	{"core/framing", []string{"core/reason"}},
	{"core/udp", []string{"core/bufpool"}},
	{"core/offload", nil},
	{"core/mux", []string{"core/bufpool", "core/framing", "core/reason", "core/zerocopy"}},
	{"core/portmap", nil},
	{"core/turnclient", []string{"core/stun", "core/reason"}},
	{"turn/probe", []string{"core/stun"}},
	{"core/arq", nil},
	{"core/tls", []string{"identity", "core/arq", "core/dtlsserver", "core/ktls", "core/reason", "core/zerocopy"}},
	{"core/ice", []string{"core/turnclient", "core/stun", "core/udp", "core/reason"}},
	{"signalling", []string{"identity", "core/reason"}},
	{"signalling/lan", []string{"identity", "signalling"}},
	{"signalling/relay", []string{"identity", "core/pushwire", "core/stun", "signalling"}},
	{"dht", []string{"identity", "core/reason", "signalling"}},
	{"internal/filestamp", nil},
	{"internal/httpserve", nil},
	{"turn", []string{"identity", "turn/alloc", "turn/push", "core/bufpool", "core/dtlsserver", "core/ktls", "core/offload", "core/pushwire", "core/stun", "core/udp", "core/zerocopy", "internal/filestamp"}},
	{"turn/mint", []string{"turn", "internal/httpserve"}},
	{"turn/load", []string{"core/stun", "core/turnclient"}},
	{"conformance", []string{"core/stun", "core/turnclient", "core/reason"}},
	{"transfer", []string{"core/reason", "core/treehash"}},
	{"transfer/store", nil},
	{"service", []string{"identity", "core/bufpool", "core/framing"}},
	{"connmgr", []string{"identity", "core/ice", "core/tls", "core/mux", "core/framing", "core/reason"}},
	{"internal/acme", nil},
	{"metrics", []string{anyAbove}},
	{"internal/cli", nil},
	{"internal/logging", nil},
	{"internal/lossy", nil},
	{"internal/dashboard", []string{"internal/httpserve"}},
	{"internal/manpage", []string{"internal/cli"}},
	{"internal/netlab", nil},
	{"internal/testnet", []string{"internal/netlab"}},
	{"internal/sdnotify", nil},
	{"internal/loopback", nil},
	{"internal/uml", nil},
	{"internal/uml/init", nil},
	{"internal/secretfile", []string{"internal/cli"}},
	{"internal/configcmd", []string{"config", "internal/cli", "internal/secretfile"}},
	{"internal/relayadmin", []string{"config", "core/offload", "turn", "internal/cli", "internal/httpserve"}},
	{"internal/coturn", []string{"config"}},
	{"internal/turndconf", []string{"identity", "config", "turn", "turn/alloc", "turn/mint", "core/stun", "internal/cli", "internal/secretfile"}},
	{"daemon", []string{anyAbove}},
	{"demo", []string{anyAbove}},
	{"cmd/node", []string{anyAbove}},
	{"cmd/turnd", []string{anyAbove}},
	{"bench", []string{anyAbove}},
	{"interop", nil},                      // tests only
	{"docs/protocol/muxdecode", nil},      // knows the page, not the code
	{"docs/protocol/transferdecode", nil}, // so does this
	{"internal/manual", nil},
	{"internal/arch", nil},
}

// sole names who may import a foreign package (or one below it), and whose tests may besides.
var sole = []struct {
	foreign string
	by      []string
	tests   []string
}{
	{foreign: "crypto/tls", by: []string{"internal/acme", "core/tls", "identity", "core/turnclient", "signalling/relay", "turn", "turn/mint", "turn/probe", "conformance", "bench"}}, // bench: opponents run on it
	{foreign: "crypto/hpke", by: []string{"signalling"}},
	{foreign: "filippo.io/age", by: []string{"identity"}},
	{foreign: "filippo.io/edwards25519", by: []string{"identity"}},
	{foreign: "github.com/anacrolix", by: []string{"dht"}},
	{foreign: "github.com/cilium/ebpf", by: []string{"core/offload", "bench"}},
	{foreign: "github.com/caddyserver/certmagic", by: []string{"internal/acme"}},
	{foreign: "go.uber.org/zap", by: []string{"internal/acme"}}, // certmagic takes a logger, and gets one that discards
	{foreign: "github.com/cloudflare/circl", by: []string{"core/treehash"}},
	{foreign: "github.com/hashicorp/yamux", by: []string{"bench"}},
	{foreign: "github.com/huin/goupnp", by: []string{"core/portmap"}},
	{foreign: "github.com/pelletier/go-toml", by: []string{"config", "daemon"}},
	{foreign: "github.com/pion/dtls", by: []string{"conformance", "core/tls", "turn/probe"}, tests: []string{"core/dtlsserver", "turn"}},
	{foreign: "github.com/pion/ice", by: []string{"core/ice"}},
	{foreign: "github.com/pion/logging", by: []string{"core/ice"}, tests: []string{"conformance", "core/turnclient", "deploy/k8s", "turn"}},
	{foreign: "github.com/pion/stun", tests: []string{"core/stun", "core/turnclient", "turn"}},
	{foreign: "github.com/pion/transport", by: []string{"core/ice"}},
	{foreign: "github.com/pion/turn", by: []string{"bench"}, tests: []string{"conformance", "core/ice", "core/turnclient", "deploy/k8s", "turn"}},
	{foreign: "github.com/prometheus", by: []string{"metrics"}},
	{foreign: "github.com/spf13", by: []string{"cmd/node", "cmd/turnd", "internal/manpage", "internal/configcmd"}},
	{foreign: "github.com/xtaci/smux", by: []string{"bench"}},
	{foreign: "github.com/vmihailenco/msgpack", by: []string{"core/framing"}},
	{foreign: "rsc.io/qr", by: []string{"cmd/node"}},
	{foreign: "golang.org/x/text", by: []string{"core/stun"}},
	{foreign: "log", by: []string{"metrics", "turn/mint"}},                                                                               // net/http and client_golang take a *log.Logger
	{foreign: "log/slog", by: []string{"cmd/node", "cmd/turnd", "daemon", "demo", "internal/logging", "internal/relayadmin", "metrics"}}, // metrics: exporter-toolkit takes one, and gets one that discards
	{foreign: "go.etcd.io/bbolt", by: []string{"transfer/store"}},
	{foreign: "github.com/stretchr/testify"},
}

// shadowed lists our packages that have the name of a foreign one.
var shadowed = []struct {
	ours, foreign string
	exempt        []string // words that both need; a wrong import of pion/ice is caught by sole anyway
}{
	{ours: "core/tls", foreign: "crypto/tls"},
	{ours: "core/ice", foreign: "github.com/pion/ice/v2", exempt: []string{"Candidate", "CandidateType", "ErrClosed", "Role"}},
}

// maxLines is the length of a file, tests included, above which it is split.
const maxLines = 500
