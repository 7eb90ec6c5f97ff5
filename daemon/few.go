package daemon

import "sync"

// A few of many functions run side by side.
type few struct {
	places chan struct{}
	tasks  sync.WaitGroup
}

func newFew(most int) *few { return &few{places: make(chan struct{}, most)} }

// do starts f when there is a place for it.
func (s *few) do(f func()) {
	s.places <- struct{}{}
	s.tasks.Go(func() {
		defer func() { <-s.places }()
		f()
	})
}

// wait returns when all have ended.
func (s *few) wait() { s.tasks.Wait() }
