package main

import (
	"errors"
	"log/slog"
	"slices"
	"strings"

	"traverse.internal/core/offload"
	"traverse.internal/internal/cli"
	"traverse.internal/internal/relayadmin"
	"traverse.internal/turn"
)

// openOffload opens the relay in the kernel where turnd.offload wants it: "off", "tc", or "auto", which goes on without it
// where there can be none, and says why. The relay is nil where there is none; who called closes it after the server.
func openOffload(mode string, t turn.Config, log *slog.Logger) (*offload.Relay, relayadmin.Offload, error) {
	status := relayadmin.Offload{Mode: mode, State: "off"}
	if mode == "off" {
		return nil, status, nil
	}
	if onlyLoopback(t) {
		status.Reason = "every address is of loopback"
		log.Info("nothing is relayed in the kernel", "reason", status.Reason)
		return nil, status, nil
	}
	relay, err := offload.Open(offload.Config{Report: func(err error) {
		log.Warn("the relay in the kernel", "error", err)
	}})
	switch {
	case err == nil:
	case mode == "tc":
		return nil, status, cli.Errorf("E_CONFIG", "there can be no relay in the kernel").Because(err).
			Hint("offload = auto, which goes on without it; docs/offload.md says what it takes")
	default:
		status.State, status.Reason = "fallback", err.Error()
		log.Warn("everything is relayed in user space: there can be no relay in the kernel", "reason", err, "try", "docs/offload.md, or offload = off")
		return nil, status, nil
	}
	status.State = "on"
	var names []string
	for _, i := range relay.Stats().Interfaces {
		names = append(names, strings.TrimSuffix(i.Name+" "+i.How, " "))
	}
	if len(names) == 0 {
		log.Warn("the relay in the kernel waits for an Ethernet interface with an address", "reason", errNoInterface)
	} else {
		log.Info("channels are relayed in the kernel", "interfaces", strings.Join(names, ", "))
	}
	return relay, status, nil
}

var errNoInterface = errors.New("there is none that is up")

// onlyLoopback says whether nobody can come from another machine.
func onlyLoopback(t turn.Config) bool {
	for _, a := range slices.Concat(t.ListenUDP, t.ListenTCP) {
		if !a.Addr().IsLoopback() {
			return false
		}
	}
	return true
}
