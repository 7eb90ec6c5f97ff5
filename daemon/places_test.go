package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// TestPlaces: as many as may; a free place goes to the higher priority, then to the contact that has the fewest, then to who has waited longest.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(2)
		var first, second, small place
		if err := errors.Join(p.take(&first, "bob", 5<<20), p.take(&second, "bob", 5<<20), p.take(&small, "bob", smallTransfer)); err != nil {
			t.Fatal(err)
		}
		if err := p.take(new(place), "carol", 5<<20); !errors.Is(err, errNoPlace) {
			t.Fatalf("a third one: %v", err)
		}
		var order []string
		wait := func(name, who string, priority int) {
			go func() {
				var mine place
				if p.wait(t.Context(), &mine, who, priority) {
					order = append(order, name)
					mine.leave()
				}
			}()
			synctest.Wait()
		}
		wait("bob's low", "bob", -1)
		wait("bob's", "bob", 0)
		wait("bob's second", "bob", 0)
		wait("carol's", "carol", 0)
		wait("bob's high", "bob", 1)
		gone, cancel := context.WithCancel(t.Context())
		go func() { p.wait(gone, new(place), "dave", 1) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		first.leave()
		synctest.Wait()
		want := []string{"bob's high", "carol's", "bob's", "bob's second", "bob's low"}
		if len(order) != len(want) {
			t.Fatalf("served %q", order)
		}
		for i := range want {
			if order[i] != want[i] {
				t.Errorf("served %q, want %q", order, want)
				break
			}
		}
		second.leave()
		small.leave()
		if p.count != 0 || len(p.taken) != 0 || len(p.waiting) != 0 {
			t.Errorf("left: %d places, %v, %d who wait", p.count, p.taken, len(p.waiting))
		}
	})
}
