package daemon

import (
	"bufio"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestSpecIsWhole: every reference leads somewhere, every route is answered by the handlers, and says what it is.
func TestSpecIsWhole(t *testing.T) {
	var spec struct {
		Paths      map[string]map[string]struct{ Summary string }
		Components struct{ Schemas map[string]json.RawMessage }
	}
	raw := Spec()
	if err := json.Unmarshal(raw, &spec); err != nil {
		t.Fatal(err)
	}
	for _, ref := range regexp.MustCompile(`"#/components/schemas/(\w+)"`).FindAllSubmatch(raw, -1) {
		if s := spec.Components.Schemas[string(ref[1])]; len(s) == 0 || string(s) == "null" {
			t.Errorf("the schema %s is not there", ref[1])
		}
	}
	c := NewClient(upAlone(t).Socket)
	for path, methods := range spec.Paths {
		for method, op := range methods {
			if op.Summary == "" {
				t.Errorf("%s %s has no summary", method, path)
			}
			if path == "/v1/events" || path == "/v1/stop" {
				continue // does not end; ends the rest
			}
			at := pathParam.ReplaceAllString(path, "nobody")
			req, err := http.NewRequestWithContext(t.Context(), strings.ToUpper(method), "http://node"+at, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := c.http.Do(req)
			if err != nil {
				t.Fatalf("%s %s: %v", method, at, err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusUnprocessableEntity {
				t.Errorf("%s %s: %s", method, at, res.Status)
			}
		}
	}
}

// TestEventStream: what happens arrives as server-sent events, what was kept too, and only what was asked for.
func TestEventStream(t *testing.T) {
	h := upAlone(t)
	c := NewClient(h.Socket)
	other := HomeAt(t.TempDir())
	id, err := Init(other, "other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddContact(t.Context(), "kept", id.DeviceID); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://node/v1/events?since=0&type=contact", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != streamSSE {
		t.Errorf("it is %q", got)
	}
	if _, err := c.Expose(t.Context(), ExposeRequest{Name: "web", Addr: "80"}); err != nil { // of another type
		t.Fatal(err)
	}
	if _, err := c.SetContact(t.Context(), "kept", map[string]string{"listen": "on"}); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(res.Body)
	for _, want := range []string{"added", "changed"} {
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") {
		}
		var e Event
		if err := json.Unmarshal([]byte(strings.TrimPrefix(lines.Text(), "data: ")), &e); err != nil || e.What != want || e.Contact.Name != "kept" {
			t.Errorf("%q, %v; want a contact that was %s", lines.Text(), err, want)
		}
	}
}
