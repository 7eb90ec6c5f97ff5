package turndconf

import (
	"traverse.internal/config"
	"traverse.internal/internal/cli"
	"traverse.internal/turn/mint"
)

// Mint makes the configuration of the endpoint that mints credentials, which package config has checked. Its errors are
// *cli.Error.
func Mint(conf config.Config) (mint.Config, error) {
	m := conf.Turnd.Mint
	out := mint.Config{CertFile: m.Cert, KeyFile: m.Key, ClientCA: m.ClientCA, URIs: m.URIs, TTL: m.TTL, Rate: m.Rate}
	secrets, err := ReadSecrets(conf.Turnd.Secret)
	if err != nil {
		return out, cli.Errorf("E_CONFIG", "cannot use the secrets in %s", conf.Turnd.Secret).Because(err).Hint("one secret a line, mode 0600")
	}
	out.Secret = secrets[0]
	if m.TokenFile != "" {
		if out.Tokens, err = ReadSecrets(m.TokenFile); err != nil {
			return out, cli.Errorf("E_CONFIG", "cannot use the tokens in %s", m.TokenFile).Because(err).Hint("one token a line, mode 0600")
		}
	}
	return out, nil
}
