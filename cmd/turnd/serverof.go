package main

import "traverse.internal/internal/cli"

// asked is a server, and whom it is asked as.
type asked struct {
	server
	password string
}

// usageOf returns what makes errors of usage for a command that takes a server's URL.
func usageOf(command string) func(format string, args ...any) error {
	return func(format string, args ...any) error {
		return cli.Errorf("E_USAGE", format, args...).Hint("turnd %s turn:user@192.0.2.1:3478 --pass-file FILE", command)
	}
}

// serverOf reads a command's URL and the flags about its user. Refuse says what the command cannot do with a server, or "".
func (a *app) serverOf(url string, f checkFlags, wrong func(string, ...any) error, refuse func(server) string) (asked, error) {
	var out asked
	var err error
	if out.server, err = parseServer(url); err != nil {
		return out, wrong("%q is no server: %v", url, err)
	}
	if why := refuse(out.server); why != "" {
		return out, wrong("%q: %s", url, why)
	}
	if f.user != "" {
		out.user = f.user
	}
	if out.user == "" {
		return out, wrong("no user, in the URL or by --user")
	}
	out.password, err = a.password(f)
	return out, err
}

// notFound is the error of a server whose name has no address.
func (s server) notFound(err error) error {
	return cli.Errorf("E_NO_PATH", "the server cannot be found").Because(err).Hint("check the name %q", s.host)
}
