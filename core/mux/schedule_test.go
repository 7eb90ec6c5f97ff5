package mux

import (
	"strings"
	"testing"
)

// turns plays n turns of a ring in the writer's order: short ones, then long ones.
func turns(r *ring, n int, more func(*Channel) bool) string {
	var names []string
	for range n {
		c := r.short()
		if c == nil {
			c = r.long()
		}
		if c == nil {
			break
		}
		names = append(names, c.name)
		r.served(c, more(c))
	}
	return strings.Join(names, " ")
}

// TestRingPriorities: who comes when, with priorities.
func TestRingPriorities(t *testing.T) {
	always := func(*Channel) bool { return true }
	never := func(*Channel) bool { return false }
	for _, c := range []struct {
		name  string
		enter string // channels by the first letter of their priority
		more  func(*Channel) bool
		turns int
		want  string
	}{
		{"short messages", "b1 n1 i1 n2 i2", never, 9, "i1 i2 n1 n2 b1"},
		{"bulk alone", "b1 b2", always, 4, "b1 b2 b1 b2"},
		{"bulk has a turn in five", "b1 n1", always, 11, "n1 n1 n1 n1 n1 b1 n1 n1 n1 n1 b1"},
		{"however many others there are", "b1 n1 n2 n3", always, 13, "n1 n2 n3 n1 n2 n3 n1 b1 n2 n3 n1 n2 b1"},
		{"interactive ones in turn", "n1 i1 i2", always, 4, "i1 i2 i1 i2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r ring
			for _, name := range strings.Fields(c.enter) {
				ch := &Channel{name: name, priority: map[byte]Priority{'i': Interactive, 'n': Normal, 'b': Bulk}[name[0]]}
				r.enter(ch)
				r.enter(ch) // again, no effect
			}
			if got := turns(&r, c.turns, c.more); got != c.want {
				t.Errorf("order %q, want %q", got, c.want)
			}
		})
	}
}

// TestRingChangesOfMind: a priority that changes while the channel waits counts from its next turn on.
func TestRingChangesOfMind(t *testing.T) {
	var r ring
	a, b := &Channel{name: "a"}, &Channel{name: "b", priority: Bulk}
	r.enter(a)
	r.enter(b)
	a.priority, b.priority = Bulk, Normal
	if got, want := turns(&r, 4, func(*Channel) bool { return true }), "a b b b"; got != want {
		t.Errorf("order %q, want %q", got, want)
	}
	r.served(r.long(), false)
	r.served(r.long(), false)
	if !r.empty() {
		t.Error("not empty")
	}
	a.priority = Interactive
	r.enter(a)
	r.demote(a) // a long body
	if r.short() != nil || r.long() != a {
		t.Error("a long body of an interactive channel does not wait among the long ones")
	}
}
