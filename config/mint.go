package config

import (
	"fmt"
	"strings"
	"time"
)

// Mint is the HTTP endpoint that makes time-limited credentials for a web application.
type Mint struct {
	Listen    string   // host:port; "" means none
	TokenFile string   // "" means that a client certificate is enough
	Cert, Key string   // "" means plain HTTP, on loopback
	ClientCA  string   // "" means that client certificates do not count
	URIs      []string // where browsers find the TURN server
	TTL       time.Duration
	Rate      int // requests a second
}

// mintKeys are those of [turnd.mint].
var mintKeys = []Key{
	{
		Name: "turnd.mint.listen", Flag: "mint-listen", Programs: turndOnly,
		Help:  "HTTP address where a web application gets time-limited credentials of turnd.secret_file; empty: none; without a certificate only loopback",
		field: one(func(c *Config) *string { return &c.Turnd.Mint.Listen }, "host:port", orEmpty(parseHostPort)),
	},
	{
		Name: "turnd.mint.token_file", Flag: "mint-token-file", Programs: turndOnly,
		Help:  "file of the tokens that applications show, one a line, 0600; empty: their certificates count alone",
		field: path(func(c *Config) *string { return &c.Turnd.Mint.TokenFile }),
	},
	{
		Name: "turnd.mint.cert_file", Flag: "mint-cert", Programs: turndOnly,
		Help:  "certificate of the endpoint and the chain after it, PEM; empty: plain HTTP",
		field: path(func(c *Config) *string { return &c.Turnd.Mint.Cert }),
	},
	{
		Name: "turnd.mint.key_file", Flag: "mint-key", Programs: turndOnly,
		Help:  "its private key, PEM",
		field: path(func(c *Config) *string { return &c.Turnd.Mint.Key }),
	},
	{
		Name: "turnd.mint.client_ca_file", Flag: "mint-client-ca", Programs: turndOnly,
		Help:  "certificates of the authorities that applications' certificates must be of, PEM; with a token file both are needed",
		field: path(func(c *Config) *string { return &c.Turnd.Mint.ClientCA }),
	},
	{
		Name: "turnd.mint.uris", Flag: "mint-uris", Programs: turndOnly,
		Help:  "where browsers find the TURN server, such as turn:relay.example:3478?transport=udp",
		field: list(func(c *Config) *[]string { return &c.Turnd.Mint.URIs }, "URIs", single(parseTurnURI)),
	},
	{
		Name: "turnd.mint.ttl", Flag: "mint-ttl", Default: "1h0m0s", Programs: turndOnly,
		Help:  "how long the credentials are good for new allocations",
		field: one(func(c *Config) *time.Duration { return &c.Turnd.Mint.TTL }, "duration", parseDuration),
	},
	{
		Name: "turnd.mint.rate", Flag: "mint-rate", Default: "50", Programs: turndOnly,
		Help:  "requests answered a second, in bursts of five times as many; more get 429",
		field: one(func(c *Config) *int { return &c.Turnd.Mint.Rate }, typeCount, parseCount),
	},
}

// parseTurnURI reads what RFC 7065 has, as far as browsers need it.
func parseTurnURI(s string) (string, error) {
	rest, ok := strings.CutPrefix(s, "turn:")
	if !ok {
		rest, ok = strings.CutPrefix(s, "turns:")
	}
	rest, query, _ := strings.Cut(rest, "?")
	if !ok || rest == "" || strings.ContainsAny(rest, "@/ ") || query != "" && query != "transport=udp" && query != "transport=tcp" {
		return "", fmt.Errorf("%q is not turn:HOST:PORT or turns:HOST:PORT, with ?transport=udp or ?transport=tcp", s)
	}
	return s, nil
}

// checkMint names the first thing that the endpoint lacks.
func (c *Config) checkMint(wrong func(key, format string, args ...any) error) error {
	m := c.Turnd.Mint
	switch {
	case m.Listen == "":
	case c.Turnd.Secret == "":
		return wrong("turnd.mint.listen", "it takes turnd.secret_file, whose first secret the credentials are made of")
	case m.TokenFile == "" && m.ClientCA == "":
		return wrong("turnd.mint.listen", "it takes turnd.mint.token_file or turnd.mint.client_ca_file, that say who may ask")
	case (m.Cert == "") != (m.Key == ""):
		return wrong("turnd.mint.cert_file", "a certificate takes turnd.mint.key_file, and a key a certificate")
	case m.ClientCA != "" && m.Cert == "":
		return wrong("turnd.mint.client_ca_file", "it takes turnd.mint.cert_file and turnd.mint.key_file")
	case len(m.URIs) == 0:
		return wrong("turnd.mint.listen", "it takes turnd.mint.uris, that say where the TURN server is")
	case m.TTL < time.Second:
		return wrong("turnd.mint.ttl", "credentials of less than a second are no good")
	}
	return nil
}
