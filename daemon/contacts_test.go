package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"traverse.internal/identity"
)

func newID(t *testing.T) identity.DeviceID {
	t.Helper()
	d, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	return d.ID()
}

func TestContacts(t *testing.T) {
	h := HomeAt(t.TempDir())
	c, err := LoadContacts(h)
	if err != nil {
		t.Fatal(err)
	}
	bob, eve := newID(t), newID(t)
	for _, step := range []struct {
		what, name string
		id         identity.DeviceID
		why        string
	}{
		{"a new one", "bob", bob, ""},
		{"the same again", "bob", bob, ""},
		{"the name is taken", "bob", eve, "already"},
		{"the device is taken", "robert", bob, "already"},
		{"empty name", "", eve, "empty"},
		{"a flag", "-x", eve, "flag"},
		{"a space", "a b", eve, "contains"},
		{"an id as a name", eve.String(), eve, "looks like"},
		{"too long a name", strings.Repeat("x", maxContactName+1), eve, "at most 64"},
		{"no usable key", "zero", identity.DeviceID{}, "not a usable key"},
	} {
		err := c.Add(step.name, step.id)
		if step.why == "" && err != nil || step.why != "" && (err == nil || !strings.Contains(err.Error(), step.why)) {
			t.Errorf("%s: err = %v, want %q", step.what, err, step.why)
		}
	}

	again, err := LoadContacts(h)
	if err != nil || len(again.List()) != 1 || !again.Knows(bob) || again.Knows(eve) {
		t.Fatalf("after a reload: %+v, %v; want bob alone", again.List(), err)
	}
	if info, err := os.Stat(filepath.Join(h.State, "contacts.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file mode %v, %v; want 0600", info.Mode(), err)
	}

	for who, ok := range map[string]bool{
		"bob": true, bob.String(): true, strings.ToLower(bob.String()): true, "alice": false, eve.String(): false, bob.String()[1:]: false,
	} {
		got, err := c.Resolve(who)
		if ok != (err == nil) || ok && got.Device != bob {
			t.Errorf("Resolve(%q) = %+v, %v; want found = %v", who, got, err, ok)
		}
	}
}

func TestDamagedContactsAreKept(t *testing.T) {
	h := HomeAt(t.TempDir())
	path := filepath.Join(h.State, "contacts.json")
	for _, content := range []string{"{", `{"schema":3}`, `{"schema":1,"contacts":[{"name":"x","device":"nonsense"}]}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadContacts(h); err == nil {
			t.Errorf("%s: loaded without an error", content)
		}
		if got, _ := os.ReadFile(path); string(got) != content {
			t.Errorf("the damaged file was changed to %q", got)
		}
	}
}

// TestPathOfContact: what is set for a contact goes before what the node has for all, and is taken back.
func TestPathOfContact(t *testing.T) {
	var p ContactPolicy
	for _, c := range []struct {
		value string
		ok    bool
		want  string
	}{
		{"direct-only", true, "direct-only"},
		{"relay-only", true, "relay-only"},
		{"auto", true, "auto"},
		{"off", true, ""},
		{"", false, ""},
		{"direct", false, ""},
	} {
		err := p.set("path", c.value)
		if (err == nil) != c.ok || c.ok && p.Path != c.want {
			t.Errorf("path=%s: %v, %q; want %v, %q", c.value, err, p.Path, c.ok, c.want)
		}
	}
}
