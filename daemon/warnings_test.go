package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"traverse.internal/identity"
)

// A device list that nobody renews is told of days before it ends, with what mends it.
func TestAccountWarning(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, c := range []struct {
		left  time.Duration
		signs bool
		level string
		says  string
	}{
		{identity.MaxListLife, false, "", ""},
		{renewBefore, false, "", ""},
		{renewBefore - time.Hour, false, "", ""}, // the signer looks once an hour
		{listWarnBefore, false, "", ""},
		{listWarnBefore - time.Second, false, LevelWarning, "71 hours"},
		{time.Hour, false, LevelWarning, "device that signs"},
		{time.Hour, true, LevelWarning, "this device signs"},
		{0, false, LevelFailure, "ended 2001-09-09"},
	} {
		w := accountWarning(&identity.DeviceList{Expires: now.Add(c.left)}, c.signs, now)
		if c.level == "" {
			if w != nil {
				t.Errorf("%v left: %v", c.left, w)
			}
			continue
		}
		if w == nil || w.level != c.level || w.fix == "" || !strings.Contains(w.String(), c.says) {
			t.Errorf("%v left: %+v, want a %s with %q", c.left, w, c.level, c.says)
		}
	}
	if w := accountWarning(nil, false, now); w != nil {
		t.Errorf("without an account: %v", w)
	}
}

// Two nodes with one identity: a home that was copied says so on both sides, in the status, and once as an event.
func TestCopiedHome(t *testing.T) {
	first := startNode(t, "first", nil, func(c *Config) { c.DHT.republish = 400 * time.Millisecond })
	dir, err := os.MkdirTemp("", "copy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := HomeAt(dir)
	if err := os.CopyFS(h.Identity, os.DirFS(first.cfg.Home.Identity)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(h.Identity, 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(h.Identity, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.Chmod(f, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second := startHome(t, h, "second", first, func(c *Config) { c.DHT.republish = 400 * time.Millisecond })
	for _, pair := range [][2]*labNode{{first, second}, {second, first}} {
		at := pair[1].dht.Addr().String()
		until(t, "the status says where the other one is", func() bool {
			all := strings.Join(pair[0].Status().Warnings, "\n")
			return strings.Contains(all, "identity: another node") && strings.Contains(all, at)
		})
	}
	second.down()
	told := 0
	first.events.mu.Lock()
	for _, e := range first.events.kept {
		if e.Type == EventWarning {
			told++
		}
	}
	first.events.mu.Unlock()
	if told != 1 {
		t.Errorf("%d events, want 1", told)
	}
	var x Doctor
	x.node(first.Status())
	if x.Failures != 1 || x.Findings[0].Check != "identity" || x.Findings[0].Fix == "" {
		t.Errorf("doctor finds %+v", x.Findings)
	}
}
