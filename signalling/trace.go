package signalling

import (
	"context"
	"sync/atomic"
)

// traced is the key of a trace among a context's values.
type traced struct{}

// trace is by which route a message came: a string.
type trace = atomic.Value

// Traced returns a context for one Call, of which Route then says how it was answered.
func (s *Signaler) Traced(ctx context.Context) context.Context {
	return context.WithValue(ctx, traced{}, new(trace))
}

// Route is the name of the route by which the answer came that a Call with this context of Traced returned, or the request of the handler that
// has this context; "" where there is none.
func (s *Signaler) Route(ctx context.Context) string {
	t, _ := ctx.Value(traced{}).(*trace)
	if t == nil {
		return ""
	}
	name, _ := t.Load().(string)
	return name
}

// noteRoute tells the trace of a context, where there is one.
func noteRoute(ctx context.Context, name string) {
	if t, ok := ctx.Value(traced{}).(*trace); ok {
		t.Store(name)
	}
}
