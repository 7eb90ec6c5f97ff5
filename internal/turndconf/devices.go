package turndconf

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"traverse.internal/config"
	"traverse.internal/identity"
)

const (
	maxDevices     = 100_000 // × 32 bytes; more is a list of strangers
	maxDeviceBytes = maxDevices * 128
)

// devices returns who may allocate by certificate.
func devices(c config.Turnd) ([]identity.DeviceID, error) {
	var out []identity.DeviceID
	for _, text := range c.Devices {
		id, err := identity.ParseDeviceID(text)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	if c.DevicesFile == "" {
		return out, nil
	}
	f, err := os.Open(c.DevicesFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	more, err := parseDevices(f)
	return append(out, more...), err
}

// parseDevices reads one id a line. Empty lines and those that begin with # are skipped, and so is what follows a space.
func parseDevices(r io.Reader) ([]identity.DeviceID, error) {
	var out []identity.DeviceID
	limited := &io.LimitedReader{R: r, N: maxDeviceBytes + 1}
	lines := bufio.NewScanner(limited)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		id, err := identity.ParseDeviceID(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if out = append(out, id); len(out) > maxDevices {
			return nil, fmt.Errorf("it has more than %d devices", maxDevices)
		}
	}
	if limited.N <= 0 {
		return nil, fmt.Errorf("it is larger than %d bytes", maxDeviceBytes)
	}
	return out, lines.Err()
}
