package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"

	"traverse.internal/config"
	"traverse.internal/internal/cli"
)

// writeName makes the home's configuration file, with the device's name in it. A file that is there is the user's: it stays as it is.
func writeName(h Home, name string) error {
	body, err := toml.Marshal(map[string]any{"schema": 1, "node": map[string]string{"name": name}})
	if err != nil {
		return cli.Errorf("E_USAGE", "the name %q cannot be written down", name).Because(err)
	}
	if err := os.MkdirAll(filepath.Dir(h.Config), 0o700); err != nil {
		return cli.Errorf("E_LOCAL_IO", "cannot make the configuration's folder").Because(err)
	}
	f, err := os.OpenFile(h.Config, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err == nil {
		_, err = fmt.Fprintf(f, "# Every key: docs/config.md\n%s", body)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		return cli.Errorf("E_LOCAL_IO", "cannot write the configuration").Because(err)
	}
	return nil
}

// readName is the name that the home's configuration gives the device; "" when it gives none or cannot be read.
func readName(h Home) string {
	c, err := config.Load(h.Config, nil, nil)
	if err != nil {
		return ""
	}
	return c.Node.Name
}
