package mux

// queue is a first-in first-out ring that keeps its storage, so that a steady flow costs no allocation. Its zero value
// is empty.
type queue[T any] struct {
	items []T // length a power of two
	head  int
	n     int
}

func (q *queue[T]) len() int { return q.n }

// at returns the i-th item from the front. It is valid until the next push.
func (q *queue[T]) at(i int) *T { return &q.items[(q.head+i)&(len(q.items)-1)] }

func (q *queue[T]) front() *T { return q.at(0) }

func (q *queue[T]) back() *T { return q.at(q.n - 1) }

func (q *queue[T]) push(v T) {
	if q.n == len(q.items) {
		grown := make([]T, max(4, 2*len(q.items)))
		for i := range q.n {
			grown[i] = *q.at(i)
		}
		q.items, q.head = grown, 0
	}
	q.n++
	*q.back() = v
}

func (q *queue[T]) pop() T {
	v := *q.front()
	clear(q.items[q.head : q.head+1])
	q.head = (q.head + 1) & (len(q.items) - 1)
	q.n--
	return v
}

// popBack takes the last item out.
func (q *queue[T]) popBack() T {
	v := *q.back()
	var none T
	*q.back() = none
	q.n--
	return v
}

// remove takes out the first item that match accepts, if there is one.
func (q *queue[T]) remove(match func(T) bool) bool {
	for i := range q.n {
		if !match(*q.at(i)) {
			continue
		}
		for ; i > 0; i-- {
			*q.at(i) = *q.at(i - 1)
		}
		q.pop()
		return true
	}
	return false
}

// reset empties the queue and gives its storage up.
func (q *queue[T]) reset() { *q = queue[T]{} }
