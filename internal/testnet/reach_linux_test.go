package testnet

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"traverse.internal/internal/netlab"
)

// atOnce is how many pairs connect at a time.
const atOnce = 4

// cell is one pair: what it should come to, and what it came to.
type cell struct {
	from, to *station
	want     pair
	got      outcome
	seen     outcome // by the other side
	setup    time.Duration
	why      string // the error
}

// TestReach lets every kind of network reach every other one.
func TestReach(t *testing.T) {
	t.Parallel()
	if !netlab.Alone(t) {
		return
	}
	w := newWorld(t)
	a, b := map[Kind]*station{}, map[Kind]*station{}
	var cells []*cell
	for _, p := range allPairs(t) {
		if p.sameSite {
			s := w.Site(t, p.from, 2)
			cells = append(cells, &cell{from: w.device(t, "lan 1", s, 0), to: w.device(t, "lan 2", s, 1), want: p})
			continue
		}
		if a[p.from] == nil {
			a[p.from] = w.device(t, string(p.from)+" 1", w.Site(t, p.from, 1), 0)
		}
		if b[p.to] == nil {
			b[p.to] = w.device(t, string(p.to)+" 2", w.Site(t, p.to, 1), 0)
		}
		cells = append(cells, &cell{from: a[p.from], to: b[p.to], want: p})
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, c := range cells {
		slots <- struct{}{}
		wg.Go(func() {
			c.run()
			<-slots
		})
	}
	wg.Wait()
	for _, c := range cells {
		if c.got != c.want.outcome || c.got.kind != "none" && c.seen != c.got {
			t.Errorf("%s to %s: %v, the other side saw %v, want %v: %s", c.from.name, c.to.name, c.got, c.seen, c.want.outcome, c.why)
		}
	}
	t.Logf("\n%s", plain(cells))
	if os.Getenv(updateEnv) != "" && !t.Failed() {
		var rows []string
		for _, c := range cells {
			rows = append(rows, c.want.row(c.setup.Round(time.Millisecond).String()))
		}
		now := time.Now()
		if err := os.WriteFile(page, []byte(render(t, rows, now)), 0o644); err != nil {
			t.Fatal(err)
		}
		before, _, after := cutReadme(t)
		if err := os.WriteFile(readme, []byte(before+tableFrom+table(rows, now)+tableTo+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *cell) run() {
	got, seen := c.from.connect(c.to)
	c.setup = got.Setup
	if got.Error != "" {
		c.got, c.why = outcome{"none", "", string(got.Reason)}, got.Error
		return
	}
	c.got, c.seen = outcomeOf(got), outcomeOf(seen)
	c.why = fmt.Sprintf("%s %v from %v, the other side %s", got.Route.Via, got.Route.Remote, got.Route.Local, seen.Route.Via)
}

func outcomeOf(m message) outcome {
	_, transport, _ := strings.Cut(m.Route.Via, "/")
	return outcome{m.Route.Kind, transport, string(m.Route.Reason)}
}

// plain is the table for a terminal.
func plain(cells []*cell) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "from\tto\tpath\ttransport\tset-up\treason")
	for _, c := range cells {
		from, to := c.want.names()
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%v\t%s\n", from, to, c.got.kind, c.got.transport, c.setup.Round(time.Millisecond), c.got.reason)
	}
	w.Flush()
	return b.String()
}
