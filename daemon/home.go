package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"traverse.internal/internal/cli"
)

// Home says where a node keeps its things.
type Home struct {
	Identity  string // folder of the device key
	Config    string // traverse.toml
	State     string // folder of contacts and lock
	Downloads string // default folder of received files
	Socket    string // local API
}

// HomeAt is a home with everything under one folder, as --home names it.
func HomeAt(dir string) Home {
	return Home{
		Identity:  filepath.Join(dir, "identity"),
		Config:    filepath.Join(dir, "traverse.toml"),
		State:     dir,
		Downloads: filepath.Join(dir, "inbox"),
		Socket:    filepath.Join(dir, "node.sock"),
	}
}

// maxProfile keeps a socket's path within the 107 bytes that there are.
const maxProfile = 32

var profileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// DefaultHome follows the XDG base directories of the user. A profile is a home of its own beside the others, "" the one without a name.
func DefaultHome(env func(string) string, profile string) (Home, error) {
	own := "traverse"
	if profile != "" {
		if len(profile) > maxProfile || !profileName.MatchString(profile) {
			return Home{}, cli.Errorf("E_USAGE", "%q is no name of a profile", profile).
				Because(fmt.Errorf("it has letters, digits, dots, - and _, begins with a letter or digit, and has at most %d bytes", maxProfile))
		}
		own = filepath.Join(own, "profiles", profile)
	}
	home := env("HOME")
	base := func(name, fallback string) (string, error) {
		if dir := env(name); filepath.IsAbs(dir) {
			return dir, nil
		}
		if home == "" {
			return "", cli.Errorf("E_CONFIG", "there is no home to use").
				Because(fmt.Errorf("neither %s nor HOME is set", name)).Hint("name one with --home DIR")
		}
		return filepath.Join(home, fallback), nil
	}
	config, err := base("XDG_CONFIG_HOME", ".config")
	if err != nil {
		return Home{}, err
	}
	state, err := base("XDG_STATE_HOME", ".local/state")
	if err != nil {
		return Home{}, err
	}
	data, err := base("XDG_DATA_HOME", ".local/share")
	if err != nil {
		return Home{}, err
	}
	h := Home{
		Identity:  filepath.Join(data, own, "identity"),
		Config:    filepath.Join(config, own, "traverse.toml"),
		State:     filepath.Join(state, own),
		Downloads: filepath.Join(data, own, "inbox"),
		Socket:    filepath.Join(state, own, "node.sock"),
	}
	if run := env("XDG_RUNTIME_DIR"); filepath.IsAbs(run) {
		h.Socket = filepath.Join(run, own, "node.sock")
	}
	return h, nil
}

// lock is the proof that this process alone owns the home's state. The kernel drops it with the process, however that ends.
type lock struct{ file *os.File }

var errLocked = errors.New("another process holds the home's lock")

// lockPatience is for a node that has just been stopped: its socket, which commands watch, goes a moment before its lock.
const lockPatience = 2 * time.Second

func lockHome(h Home) (*lock, error) {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		l, err := tryLockHome(h)
		if !errors.Is(err, errLocked) || time.Since(began) > lockPatience {
			return l, err
		}
	}
}

func tryLockHome(h Home) (*lock, error) {
	if err := os.MkdirAll(h.State, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(h.State, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		if errors.Is(err, errLocked) {
			return nil, err
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return &lock{f}, nil
}

func (l *lock) release() { l.file.Close() }
