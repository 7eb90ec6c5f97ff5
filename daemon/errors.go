package daemon

import (
	"context"
	"errors"
	"os"
	"syscall"

	"traverse.internal/connmgr"
	"traverse.internal/core/mux"
	"traverse.internal/core/reason"
	"traverse.internal/identity"
	"traverse.internal/internal/cli"
	"traverse.internal/transfer"
)

// explain turns a package's typed error into what a user can act on.
func explain(err error, peer string) *cli.Error {
	var done *cli.Error
	if errors.As(err, &done) {
		return done
	}
	if reason.Of(err) == reason.AuthRevoked { // also where it broke a transfer in the middle
		return explainReason(err, peer)
	}
	if e := explainTransfer(err, peer); e != nil {
		return e
	}
	if e := explainReason(err, peer); e != nil {
		return e
	}
	var declined *mux.DeclinedError
	switch {
	case errors.As(err, &declined) && declined.Passing():
		return cli.Errorf("E_NO_PATH", "%s is busy", peer).Because(errors.New(declined.Reason)).Hint("try again in a moment; a transfer does so by itself")
	case errors.As(err, &declined):
		return cli.Errorf("E_DECLINED", "%s declined", peer).Because(errors.New(declined.Reason)).Hint("ask there")
	case errors.Is(err, connmgr.ErrSelf):
		return cli.Errorf("E_PEER_UNKNOWN", "this device cannot connect to itself").Hint("see `node contact ls`")
	case errors.Is(err, connmgr.ErrBusy):
		return cli.Errorf("E_DENIED", "too many connections are being made").Hint("try again in a few seconds")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return cli.Errorf("E_TIMEOUT", "no answer from %s in time", peer).Because(err).Hint("try again")
	case errors.Is(err, context.Canceled), errors.Is(err, connmgr.ErrClosed):
		return cli.Errorf("E_CANCELLED", "the node is going down").Because(err).Hint("send it again when it is up")
	}
	return cli.Errorf("E_UNEXPECTED", "cannot reach %s", peer).Because(err).Hint("the node's log has more: --log-level debug")
}

func explainTransfer(err error, peer string) *cli.Error {
	declined, ask := peer+" declined the file", "ask there, and send it again"
	var end *transfer.Error
	if errors.As(err, &end) && end.By == transfer.Local {
		declined, ask = "the file was declined", ""
	}
	for _, c := range []struct {
		kind    error
		code    string
		message string
		try     string
	}{
		{transfer.ErrDeclined, "E_DECLINED", declined, ask},
		{transfer.ErrCancelled, "E_CANCELLED", peer + " cancelled the transfer", "ask there, and send it again"},
		{transfer.ErrIntegrity, "E_INTEGRITY", "the file that arrived is not the file that was sent", "send it again"},
		{transfer.ErrNoSpace, "E_LOCAL_IO", "the receiving disk is full", "free some space there: it goes on by itself"},
		{transfer.ErrStorage, "E_LOCAL_IO", "the receiver cannot store the file", "check its download folder"},
		{transfer.ErrSource, "E_LOCAL_IO", "the file cannot be sent", "check the path and its permissions"},
		{transfer.ErrChanged, "E_LOCAL_IO", "the file changed while it was sent", "send it again when nothing writes to it"},
		{transfer.ErrName, "E_DENIED", "the receiver does not take this file name", "rename the file"},
		{transfer.ErrProtocol, "E_UNEXPECTED", peer + " broke the transfer protocol", "check that both sides run the same version"},
		{transfer.ErrPaused, "E_CANCELLED", "the transfer is paused", "go on with it: node transfers resume"},
		{transfer.ErrVersion, "E_UNEXPECTED", peer + " speaks another version of the transfer protocol", "install the same version on both sides"},
		{transfer.ErrBusy, "E_NO_PATH", peer + " is busy", "it is tried again by itself"},
		{transfer.ErrInterrupted, "E_NO_PATH", "the connection to " + peer + " broke", "the transfer goes on when it is back"},
	} {
		if errors.Is(err, c.kind) {
			e := cli.Errorf(c.code, "%s", c.message).Because(err)
			if c.try != "" {
				e.Hint("%s", c.try)
			}
			return e
		}
	}
	return nil
}

func explainReason(err error, peer string) *cli.Error {
	switch code := reason.Of(err); code {
	case reason.NoRecord:
		return cli.Errorf("E_NO_RECORD", "%s was not found", peer).Because(err).
			Hint("is `node up` running there, in the same DHT?").Hint("has that side added this device as a contact?")
	case reason.PeerSilent, reason.RecordStale:
		return cli.Errorf("E_PEER_SILENT", "%s was found but does not answer", peer).Because(err).
			Hint("is it online, and has that side added this device as a contact?").
			Hint("are the clocks of both right? `node status` there says when messages came too late")
	case reason.AuthRevoked:
		return cli.Errorf("E_AUTH", "%s is revoked", peer).Because(errors.New("AUTH_REVOKED: an account no longer lists the device")).
			Hint("see `node contact show` and, on either side, `node device ls`")
	case reason.AuthWrongKey:
		return cli.Errorf("E_AUTH", "whoever answered for %s holds another key", peer).Because(err).
			Hint("compare the device id with `node id` on that device")
	case reason.RelayAuth, reason.RelayQuota:
		return cli.Errorf("E_RELAY_REFUSED", "the relay refused").Because(err).
			Hint("check the relay's user and password file")
	case reason.RelayUnreachable:
		return cli.Errorf("E_NO_PATH", "the relay cannot be reached").Because(err).
			Hint("check its address, and that turnd runs there: --relay 'turn:USER@HOST:PORT?transport=tcp'")
	case reason.RelayPolicy:
		return cli.Errorf("E_NO_PATH", "no path to %s", peer).Because(err).
			Hint("set path.policy, or the contact's (node contact set NAME path=auto), on one of the two")
	case reason.NoPath:
		return cli.Errorf("E_NO_PATH", "no path to %s", peer).Because(err).
			Hint("configure a relay that both sides can reach: --relay 'turn:USER@HOST:PORT?transport=tcp'")
	}
	return nil
}

// explainIdentity names what is wrong with the device key.
func explainIdentity(err error, h Home) *cli.Error {
	e := cli.Errorf("E_IDENTITY", "cannot use the device identity in %s", h.Identity).Because(err)
	switch {
	case errors.Is(err, identity.ErrMissing):
		e.Hint("make one: node init")
	case errors.Is(err, identity.ErrExists):
		e.Hint("it stays as it is; `node id` prints its device id")
	case errors.Is(err, identity.ErrPermissions):
		e.Hint("chmod -R go= %s", h.Identity)
	case errors.Is(err, identity.ErrCorrupt):
		e.Hint("put back a copy of it; a new identity is another device to everybody else")
	}
	return e
}

// explainListen names the address that could not be listened on.
func explainListen(err error, what, address string) *cli.Error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return cli.Errorf("E_PORT_IN_USE", "%s cannot listen on %s", what, address).
			Because(errors.New("another program uses that address")).
			Hint("end that program, or choose another port")
	}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return cli.Errorf("E_CONFIG", "there are too few descriptors to begin with").Because(err).Hint("LimitNOFILE=65536 in the unit, or ulimit -n 65536")
	}
	return cli.Errorf("E_CONFIG", "%s cannot listen on %s", what, address).Because(err).Hint("choose an address that this machine has, and a port above 1023")
}
