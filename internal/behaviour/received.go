package behaviour

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Received collects what handlers get.
type Received[T any] struct {
	mu  sync.Mutex
	all []T
	new chan struct{}
}

// NewReceived returns one that has got nothing yet.
func NewReceived[T any]() *Received[T] { return &Received[T]{new: make(chan struct{}, 1)} }

// Add adds v, and returns how many there are now.
func (r *Received[T]) Add(v T) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, v)
	select {
	case r.new <- struct{}{}:
	default:
	}
	return len(r.all)
}

// All returns what was added until now.
func (r *Received[T]) All() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]T(nil), r.all...)
}

// Wait waits for n values, and returns all.
func (r *Received[T]) Wait(t *testing.T, n int) []T {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		if all := r.All(); len(all) >= n {
			return all
		}
		select {
		case <-r.new:
		case <-deadline:
			t.Fatalf("%d of %d after 10s: %v", len(r.All()), n, r.All())
		}
	}
}

// Eventually waits until ok, looking every few milliseconds.
func Eventually(t *testing.T, ok func() bool, what string) {
	t.Helper()
	require.Eventually(t, ok, 10*time.Second, 5*time.Millisecond, what)
}

// stays fails if ok does not hold for the time d.
func stays(t *testing.T, d time.Duration, ok func() bool, what string) {
	t.Helper()
	require.Never(t, func() bool { return !ok() }, d, 5*time.Millisecond, what)
}
