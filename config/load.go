package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFile bounds the file; with every key and a hundred relays it has about 16 KiB.
const maxFile = 64 << 10

// Default returns the configuration without file, environment and flags.
func Default() Config {
	c := Config{origins: map[string]Origin{}}
	for _, k := range table {
		if isRelay(k.Name) {
			continue // a list that begins empty
		}
		if err := k.field.set(&c, value{text: k.Default}); err != nil {
			panic(fmt.Sprintf("config: default of %s: %v", k.Name, err)) // the table is wrong
		}
	}
	return c
}

// Load puts defaults, the file at path, env (as os.Environ has it) and flags (by name, those that were given) together
// and checks the result. No path means no file; a path where there is no file is an error. Errors are *Error, except
// those of reading the file.
func Load(path string, env []string, flags map[string]string) (Config, error) {
	var data []byte
	if path != "" {
		var err error
		if data, err = slurp(path); err != nil {
			return Config{}, fmt.Errorf("config: %w", err)
		}
	}
	c, err := load(path, data, env, flags)
	if err != nil {
		return Config{}, err
	}
	return c, nil
}

func slurp(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxFile)
	}
	return data, err
}

func load(name string, data []byte, env []string, flags map[string]string) (Config, error) {
	c := Default()
	entries, relays, err := readFile(name, data)
	if err != nil {
		return c, err
	}
	c.Relays = make([]Relay, relays)
	for _, e := range entries {
		e.value.dir, e.value.env = filepath.Dir(name), env
		if err := c.apply(e.key, e.value, Origin{LayerFile, e.where}); err != nil {
			return c, err
		}
	}
	if err := c.applyText(LayerEnv, envText(env), env); err != nil {
		return c, err
	}
	for flag := range flags {
		if byFlag[flag] == nil {
			return c, &Error{Where: "--" + flag, Err: errors.New("no such flag")}
		}
	}
	if err := c.applyText(LayerFlag, flagText(flags), env); err != nil {
		return c, err
	}
	c.UnknownEnv = unknownEnv(env)
	if err := c.check(); err != nil {
		return c, err
	}
	return c, nil
}

// apply sets one key.
func (c *Config) apply(k *Key, v value, from Origin) error {
	if err := k.field.set(c, v); err != nil {
		return &Error{Key: k.Name, Where: from.Where, Err: err}
	}
	c.origins[originName(k.Name, v.relay)] = from
	return nil
}

// applyText sets what a layer of text has, in the order of the table. The address of a relay replaces the file's
// relays; a password alone goes to the one relay there is.
func (c *Config) applyText(layer Layer, text func(*Key) (where, value string, ok bool), env []string) error {
	if _, _, ok := text(byName[relayURL]); ok {
		c.Relays = []Relay{{}}
		for name := range c.origins {
			if isRelay(name) {
				delete(c.origins, name)
			}
		}
	}
	for i := range table {
		k := &table[i]
		where, given, ok := text(k)
		if !ok {
			continue
		}
		if isRelay(k.Name) {
			if len(c.Relays) != 1 {
				return &Error{Key: k.Name, Where: where, Err: fmt.Errorf("it is for one relay, there are %d", len(c.Relays))}
			}
			c.dropPassword(k, layer)
		}
		if err := c.apply(k, value{text: given, env: env}, Origin{layer, where}); err != nil {
			return err
		}
	}
	return nil
}

// dropPassword forgets what an earlier layer said of the relay's password, before this one says something else.
func (c *Config) dropPassword(k *Key, layer Layer) {
	for _, name := range []string{relayPasswordFile, relayPassword} {
		if k.Name == relayURL || c.origins[name].Layer >= layer {
			continue
		}
		delete(c.origins, name)
		if name == relayPassword {
			c.Relays[0].Password = ""
		} else {
			c.Relays[0].PasswordFile = ""
		}
	}
}

// envText finds a key's variable. Of one that stands there twice the last counts, as for the shell.
func envText(env []string) func(*Key) (string, string, bool) {
	given := map[string]string{}
	for _, pair := range env {
		if name, text, ok := strings.Cut(pair, "="); ok && strings.HasPrefix(name, "TRAVERSE_") {
			given[name] = text
		}
	}
	return func(k *Key) (string, string, bool) {
		text, ok := given[k.Env]
		return k.Env, text, ok
	}
}

// flagText finds a key's flag. A switch that is off says nothing.
func flagText(flags map[string]string) func(*Key) (string, string, bool) {
	return func(k *Key) (string, string, bool) {
		text, ok := flags[k.Flag]
		if ok && k.Switch != "" {
			text, ok = k.Switch, text == "true"
		}
		return "--" + k.Flag, text, ok
	}
}

// lookup returns a variable of env, "" when it is not there.
func lookup(env []string, name string) string {
	for _, pair := range slices.Backward(env) {
		if n, text, ok := strings.Cut(pair, "="); ok && n == name {
			return text
		}
	}
	return ""
}

func unknownEnv(env []string) (unknown []string) {
	for _, pair := range env {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "TRAVERSE_") && byEnv[name] == nil {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return slices.Compact(unknown)
}

// Origin says where the value of a key comes from. Of the second [[relay]] the keys are relay[2].url and so on.
func (c *Config) Origin(key string) Origin { return c.origins[key] }

// Value returns a key's value as it would be written; lists have commas, secrets are hidden.
func (c *Config) Value(key string) string {
	if k := byName[key]; k != nil {
		return k.field.get(c)
	}
	return ""
}

func isRelay(name string) bool {
	return strings.HasPrefix(name, "relay.") || strings.HasPrefix(name, "relay[")
}

func originName(name string, relay int) string {
	if relay > 0 {
		return strings.Replace(name, "relay.", fmt.Sprintf("relay[%d].", relay+1), 1)
	}
	return name
}
