package main

import (
	"fmt"
	"io"
	"strings"

	"traverse.internal/daemon"
	"traverse.internal/internal/cli"
)

// What stands out on a terminal: states and reasons. Columns have every cell painted or none (cli.Paint).

// paintState paints the state of a transfer, a session or a peer.
func paintState(w io.Writer, state string) string {
	c := cli.Plain
	word, _, _ := strings.Cut(state, ":") // queued: why
	switch word {
	case "done", "connected", "up", "open":
		c = cli.Good
	case "failed", "declined", "cancelled", "broken":
		c = cli.Bad
	case "queued", "paused", "offered", "resuming", "lingering", "blocked":
		c = cli.Notice
	}
	return cli.Paint(w, c, state)
}

// paintReason paints the word that says why a path is what it is, or why there is none.
func paintReason(w io.Writer, reason string) string {
	c := cli.Bad
	switch {
	case strings.HasPrefix(reason, "DIRECT_"), strings.HasPrefix(reason, "PUNCHED_"):
		c = cli.Good
	case reason == "RELAY_QUOTA", reason == "RELAY_AUTH":
	case strings.HasPrefix(reason, "RELAY_"):
		c = cli.Notice
	case reason == "", reason == "-":
		c = cli.Plain
	}
	return cli.Paint(w, c, reason)
}

// route is a path for people: "direct host/tcp (DIRECT_LAN)", none of no path.
func route(w io.Writer, p *daemon.Path, none string) string {
	if p == nil {
		return none + paintReason(w, "")
	}
	return fmt.Sprintf("%s %s (%s)", p.Kind, p.Via, paintReason(w, p.Reason))
}
