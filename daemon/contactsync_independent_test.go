package daemon

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"traverse.internal/identity"
)

const contactsVectors = "../docs/protocol/testdata/contacts-vectors.txt"

func readVectors(t *testing.T) (vectors []string) {
	t.Helper()
	f, err := os.Open(contactsVectors)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if line := in.Text(); line != "" && line[0] != '#' {
			vectors = append(vectors, line)
		}
	}
	if len(vectors) != 3 {
		t.Fatalf("%d vectors, want the three lines", len(vectors))
	}
	return vectors
}

// seeded is the id of the device whose key has a seed of 32 equal bytes.
func seeded(b byte) identity.DeviceID {
	return identity.DeviceID(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize)).Public().(ed25519.PublicKey))
}

// The product writes the vectors, and reads them as what it wrote.
func TestContactsVectors(t *testing.T) {
	one, two := seeded(1), seeded(2)
	bob := sharedContact{ID: seeded(0x11), Device: seeded(0x11), Change: change{1_700_000_000_000, one}, Name: "bob", Blocked: true}
	carol := sharedContact{ID: seeded(0x12), Device: seeded(0x12), Change: change{1_700_000_000_001, two}, Name: "carol", AutoAccept: 5 << 20, List: []byte("a signed list")}
	dave := sharedContact{ID: seeded(0x13), Device: seeded(0x13), Change: change{1_700_000_000_002, two}, Removed: true}
	have := contactsHave{[]contactVersion{{bob.ID, bob.Change}}}
	want := newerThan([]sharedContact{carol, dave}, have.Have)
	vectors := readVectors(t)
	for i, line := range []any{have, want, contactsTell{[]sharedContact{bob}}} {
		var wrote bytes.Buffer
		if err := (lines{Writer: &wrote}).write(line); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSuffix(wrote.String(), "\n"); got != vectors[i] {
			t.Errorf("line %d is\n%s\nwant\n%s", i+1, got, vectors[i])
		}
		read := reflect.New(reflect.TypeOf(line))
		if err := newLines(bytes.NewBufferString(vectors[i]+"\n"), maxJoinAnswer).read(read.Interface()); err != nil || !reflect.DeepEqual(read.Elem().Interface(), line) {
			t.Errorf("line %d is read as %+v, %v", i+1, read.Elem(), err)
		}
	}
}

// A second reader, from the page alone: it knows nothing of the product's types, and comes to the same contacts.
func TestContactsVectorsIndependently(t *testing.T) {
	object := func(line string) map[string]any {
		t.Helper()
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	list := func(o map[string]any, key string) (all []map[string]any) {
		for _, v := range o[key].([]any) {
			all = append(all, v.(map[string]any))
		}
		return all
	}
	version := func(o map[string]any) string { // orders as the page says: version, then by
		c := o["change"].(map[string]any)
		return fmt.Sprintf("%016.0f %s", c["version"].(float64), c["by"])
	}
	vectors := readVectors(t)
	have, answer, tell := object(vectors[0]), object(vectors[1]), object(vectors[2])

	state := map[string]map[string]any{} // of the opener, after
	known := map[string]string{}
	for _, v := range list(have, "have") {
		known[v["id"].(string)] = version(v)
	}
	for _, c := range list(tell, "tell") {
		if !slices.Contains(answer["want"].([]any), c["id"]) || known[c["id"].(string)] != version(c) {
			t.Errorf("%v is told and was not wanted, or is another state", c["name"])
		}
		state[c["id"].(string)] = c
	}
	for _, c := range list(answer, "tell") {
		id := c["id"].(string)
		if mine, ok := known[id]; ok && mine >= version(c) {
			t.Errorf("%v is told and is no news", c["name"])
		}
		if c["removed"] == true {
			delete(state, id)
			if _, named := c["name"]; named {
				t.Errorf("a removed contact has a name: %v", c)
			}
			continue
		}
		state[id] = c
	}
	var names []string
	for _, c := range state {
		names = append(names, c["name"].(string))
		if c["device"] == nil {
			t.Errorf("%v has no device", c["name"])
		}
	}
	slices.Sort(names)
	if strings.Join(names, " ") != "bob carol" {
		t.Errorf("the contacts are %v, want bob and carol", names)
	}
}
