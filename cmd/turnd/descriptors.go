package main

import (
	"fmt"
	"log/slog"

	"traverse.internal/config"
	"traverse.internal/internal/turndconf"
)

// warnOfDescriptors says when the system allows fewer than the limits of the configuration may take: connections would fail
// long before the limits do.
func warnOfDescriptors(conf config.Config, log *slog.Logger) {
	allowed, need := descriptors(), turndconf.Descriptors(conf)
	if allowed == 0 || allowed >= need {
		return
	}
	log.Warn("the system allows too few descriptors for the limits", "allowed", allowed, "needed", need,
		"try", fmt.Sprintf("LimitNOFILE=%d in the unit, ulimit -n %d, or a lower turnd.limits.allocations", need, need))
}
