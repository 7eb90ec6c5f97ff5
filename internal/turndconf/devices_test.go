package turndconf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"traverse.internal/config"
	"traverse.internal/identity"
)

func TestDevices(t *testing.T) {
	made := [2]identity.DeviceID{}
	for i := range made {
		d, err := identity.New()
		if err != nil {
			t.Fatal(err)
		}
		made[i] = d.ID()
	}
	path := filepath.Join(t.TempDir(), "devices")
	if err := os.WriteFile(path, []byte("# ours\n\n"+made[1].String()+" the laptop\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := devices(config.Turnd{Devices: []string{made[0].String()}, DevicesFile: path})
	if err != nil || len(got) != 2 || got[0] != made[0] || got[1] != made[1] {
		t.Errorf("got %v, %v", got, err)
	}
	for _, wrong := range []config.Turnd{{Devices: []string{"nobody"}}, {DevicesFile: path + "-not"}} {
		if _, err := devices(wrong); err == nil {
			t.Errorf("%+v is accepted", wrong)
		}
	}
}

func FuzzParseDevices(f *testing.F) {
	if d, err := identity.New(); err == nil {
		f.Add(d.ID().String() + " a comment\n# x\n")
	}
	f.Add("x\n")
	f.Fuzz(func(t *testing.T, in string) {
		got, err := parseDevices(strings.NewReader(in))
		if err != nil {
			return
		}
		var out strings.Builder
		for _, id := range got {
			out.WriteString(id.String() + "\n")
		}
		again, err := parseDevices(strings.NewReader(out.String()))
		if err != nil || len(again) != len(got) {
			t.Errorf("%q: %v does not come back: %v", in, got, err)
		}
	})
}
