package config

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// ACME is how the TLS listeners' certificate is obtained from an authority.
type ACME struct {
	Domains   []string // none: the certificate is in files
	Email     string   // "" means none
	Directory string   // URL of the authority
	CA        string   // file of the certificates to trust in asking it; "" means the system's
	Folder    string   // "" means the service manager's state directory
	HTTP      string   // ADDRESS:PORT or :PORT; "" means no http-01
	Agreed    bool     // to the authority's terms
}

// acmeKeys are those of [turnd.acme].
var acmeKeys = []Key{
	{
		Name: "turnd.acme.domains", Flag: "acme-domains", Programs: turndOnly,
		Help:  "names whose certificate is obtained and renewed by itself, for listen_tls and listen_dtls, instead of turnd.cert_file",
		field: list(func(c *Config) *[]string { return &c.Turnd.ACME.Domains }, "names", single(parseDomain)),
	},
	{
		Name: "turnd.acme.agreed", Flag: "acme-agreed", Default: "false", Programs: turndOnly,
		Help:  "whether you have read the authority's terms and agree to them; it gives nothing without",
		field: one(func(c *Config) *bool { return &c.Turnd.ACME.Agreed }, typeBool, parseBool),
	},
	{
		Name: "turnd.acme.email", Flag: "acme-email", Programs: turndOnly,
		Help:  "where the authority may write to; empty: nowhere",
		field: one(func(c *Config) *string { return &c.Turnd.ACME.Email }, "text", parseName),
	},
	{
		Name: "turnd.acme.directory", Flag: "acme-directory", Default: "https://acme-v02.api.letsencrypt.org/directory", Programs: turndOnly,
		Help:  "URL of the authority's directory",
		field: one(func(c *Config) *string { return &c.Turnd.ACME.Directory }, "URL", parseHTTPS),
	},
	{
		Name: "turnd.acme.ca_file", Flag: "acme-ca", Programs: turndOnly,
		Help:  "certificates to trust in asking the authority, PEM; empty: the system's",
		field: path(func(c *Config) *string { return &c.Turnd.ACME.CA }),
	},
	{
		Name: "turnd.acme.http", Flag: "acme-http", Programs: turndOnly,
		Help:  "address where the authority's request to port 80 arrives (http-01), open only while it looks; empty: it looks at listen_tls on port 443 (tls-alpn-01)",
		field: one(func(c *Config) *string { return &c.Turnd.ACME.HTTP }, "address", orEmpty(parseChallenge)),
	},
	{
		Name: "turnd.acme.folder", Flag: "acme-folder", Programs: turndOnly,
		Help:  "where account and certificates are kept; empty: acme in the service manager's state directory",
		field: path(func(c *Config) *string { return &c.Turnd.ACME.Folder }),
	},
}

// parseDomain reads a name that an authority could certify. It decides whether that is so, not we.
func parseDomain(s string) (string, error) {
	if _, err := netip.ParseAddr(s); err == nil {
		return "", errors.New("an address has no certificate of this kind, a name has")
	}
	if strings.ContainsAny(s, "*:/@ ") || strings.Trim(s, ".") != s || !strings.Contains(s, ".") || len(s) > 253 {
		return "", errors.New("it is no name of a host, such as turn.example.org")
	}
	return strings.ToLower(s), nil
}

// parseChallenge reads where http-01 listens.
func parseChallenge(s string) (string, error) {
	_, err := parseListen(s)
	return s, err
}

func parseHTTPS(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return "", errors.New("it is no https:// URL")
	}
	return s, nil
}

// checkACME names the first thing that obtaining certificates lacks.
func (c *Config) checkACME(wrong func(key, format string, args ...any) error) error {
	a := c.Turnd.ACME
	if len(a.Domains) == 0 {
		return nil
	}
	switch {
	case len(c.Turnd.ListenTLS)+len(c.Turnd.ListenDTLS) == 0:
		return wrong("turnd.acme.domains", "the certificate is for turnd.listen_tls and turnd.listen_dtls, and neither is set")
	case c.Turnd.Cert != "" || c.Turnd.Key != "":
		return wrong("turnd.acme.domains", "turnd.cert_file says that the certificate is in a file; one of the two")
	case !a.Agreed:
		return wrong("turnd.acme.domains", "it takes turnd.acme.agreed = true: read the terms of the authority at turnd.acme.directory")
	case len(c.Turnd.ListenTLS) == 0 && a.HTTP == "":
		return wrong("turnd.acme.domains", "the authority has no way to look: set turnd.acme.http, or listen over TLS")
	}
	return nil
}
