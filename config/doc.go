// Package config is the one configuration of both programs: a TOML file, the environment and flags, checked before anything starts.
//
// Every setting is a Key: a dotted name in the file, an environment variable and a flag. A later layer wins:
//
//	default < file < environment (TRAVERSE_DHT_MODE) < flag (--dht-listen)
//
// Load puts the layers together and stops at the first thing that is wrong, with the place where it stands: an unknown
// key (with the name that was probably meant), a value of the wrong kind, two values that do not go together. A key that
// has no effect yet does not exist: nothing is accepted and then ignored. Config.Origin remembers for every key which
// layer decided.
//
// Secrets do not stand in the file, the environment of others to read, or on a command line: keys that end in _file
// name a file that only its owner can read, and a secret's value can be "env:NAME".
//
// Relative paths in the file are relative to the file; on the command line and in the environment, to where the program
// runs. Sizes have a unit ("256KiB"), durations too ("30s"). docs/config.md is made from the table of keys.
//
// There is no state here and no I/O but reading the one file.
package config
