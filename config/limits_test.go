package config_test

import (
	"testing"

	"traverse.internal/config"
	"traverse.internal/turn/alloc"
)

// The package imports nothing of ours, so that the defaults of the server's limits stand in two places.
func TestTurndLimitsAreTheServersOwn(t *testing.T) {
	want := alloc.Limits{}.WithDefaults()
	got := config.Default().Turnd.Limits
	if got != (config.TurndLimits{
		Allocations: want.Allocations, PerUser: want.PerUser, PerIP: want.PerSource,
		UserPermissions: want.UserPermissions, IPPermissions: want.SourcePermissions,
		UserChannels: want.UserChannels, IPChannels: want.SourceChannels,
		UserPeers: want.UserPeers, IPPeers: want.SourcePeers,
		Strangers: 200, // turn.Config.StrangerRate's
	}) {
		t.Errorf("defaults %+v, want the server's %+v", got, want)
	}
}
