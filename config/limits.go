package config

// TurndLimits bounds what the server's users may hold, and spend.
type TurndLimits struct {
	Allocations int
	PerUser     int
	PerIP       int

	UserPermissions, IPPermissions int
	UserChannels, IPChannels       int
	UserPeers, IPPeers             int  // new ones a minute
	UserRate, IPRate, Rate         Size // bytes a second each way; 0: no limit
	Strangers                      int  // answers a second to unauthenticated sources of one prefix
}

// limitKeys are those of [turnd.limits].
var limitKeys = []Key{
	{
		Name: "turnd.limits.allocations", Flag: "max-allocations", Default: "10000", Programs: both,
		Help:  "allocations of the whole server; more get 508",
		field: one(func(c *Config) *int { return &c.Turnd.Limits.Allocations }, typeCount, parseCount),
	},
	{
		Name: "turnd.limits.per_user", Flag: "max-allocations-per-user", Default: "512", Programs: both,
		Help:  "allocations of one user; more get 486",
		field: one(func(c *Config) *int { return &c.Turnd.Limits.PerUser }, typeCount, parseCount),
	},
	{
		Name: "turnd.limits.per_ip", Flag: "max-allocations-per-ip", Default: "1024", Programs: both,
		Help:  "allocations of one client address (IPv6: one /56); more get 486",
		field: one(func(c *Config) *int { return &c.Turnd.Limits.PerIP }, typeCount, parseCount),
	},
	{
		Name: "turnd.limits.permissions_per_user", Flag: "max-permissions-per-user", Default: "16384", Programs: turndOnly,
		Help:  "permissions of one user's allocations together; more get 508",
		field: one(func(c *Config) *int { return &c.Turnd.Limits.UserPermissions }, typeCount, parseCount),
	},
	{
		Name: "turnd.limits.permissions_per_ip", Flag: "max-permissions-per-ip", Default: "32768", Programs: turndOnly,
		Help:  "the same of one client address (IPv6: one /56)",
		field: one(func(c *Config) *int { return &c.Turnd.Limits.IPPermissions }, typeCount, parseCount),
	},
	{
		Name: "turnd.limits.channels_per_user", Flag: "max-channels-per-user", Default: "16384", Programs: turndOnly,
		Help:  "channels of one user's allocations together; more get 508",
		field: one(func(c *Config) *int { return &c.Turnd.Limits.UserChannels }, typeCount, parseCount),
	},
	{
		Name: "turnd.limits.channels_per_ip", Flag: "max-channels-per-ip", Default: "32768", Programs: turndOnly,
		Help:  "the same of one client address (IPv6: one /56)",
		field: one(func(c *Config) *int { return &c.Turnd.Limits.IPChannels }, typeCount, parseCount),
	},
	{
		Name: "turnd.limits.new_peers_per_user", Flag: "max-new-peers-per-user", Default: "1200", Programs: turndOnly,
		Help:  "new peers a minute of one user: new permissions, and connections through a relay; more get 508",
		field: one(func(c *Config) *int { return &c.Turnd.Limits.UserPeers }, typeCount, parseCount),
	},
	{
		Name: "turnd.limits.new_peers_per_ip", Flag: "max-new-peers-per-ip", Default: "2400", Programs: turndOnly,
		Help:  "the same of one client address (IPv6: one /56)",
		field: one(func(c *Config) *int { return &c.Turnd.Limits.IPPeers }, typeCount, parseCount),
	},
	{
		Name: "turnd.limits.rate_per_user", Flag: "max-rate-per-user", Default: "0B", Programs: turndOnly,
		Help:  "bytes a second that one user relays in each direction, in bursts of a second's; datagrams beyond it are dropped, TCP waits; 0: no limit",
		field: one(func(c *Config) *Size { return &c.Turnd.Limits.UserRate }, "size", ParseSize),
	},
	{
		Name: "turnd.limits.rate_per_ip", Flag: "max-rate-per-ip", Default: "0B", Programs: turndOnly,
		Help:  "the same of one client address (IPv6: one /56)",
		field: one(func(c *Config) *Size { return &c.Turnd.Limits.IPRate }, "size", ParseSize),
	},
	{
		Name: "turnd.limits.rate", Flag: "max-rate", Default: "0B", Programs: turndOnly,
		Help:  "the same of the whole server",
		field: one(func(c *Config) *Size { return &c.Turnd.Limits.Rate }, "size", ParseSize),
	},
	{
		Name: "turnd.limits.strangers_per_second", Flag: "max-strangers-per-second", Default: "200", Programs: turndOnly,
		Help:  "answers a second to what comes unauthenticated over UDP from one IPv4 /24 or IPv6 /56, in bursts of five times as many; beyond it silence",
		field: one(func(c *Config) *int { return &c.Turnd.Limits.Strangers }, typeCount, parseCount),
	},
}
