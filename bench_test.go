package fanfare

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
)

var benchTopic = NewTopic[int]("bench")

// benchLocal returns a dispatcher with n handlers that count, and the counter.
func benchLocal(b *testing.B, n int) (*Local, *atomic.Int64) {
	b.Helper()
	l, err := NewLocal(WithMaxQueued(1 << 30))
	if err != nil {
		b.Fatal(err)
	}
	handled := new(atomic.Int64)
	for range n {
		if _, err := benchTopic.Register(b.Context(), l, func(context.Context, int) error {
			handled.Add(1)
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	return l, handled
}

// BenchmarkLocal dispatches events without options from 1 and 2 goroutines to 1
// handler that counts, and waits until all are handled: ns/op is dispatch and
// handling together.
func BenchmarkLocal(b *testing.B) {
	for _, producers := range []int{1, 2} {
		b.Run("producers="+strconv.Itoa(producers), func(b *testing.B) {
			l, handled := benchLocal(b, 1)
			done := make(chan error, producers)
			b.ReportAllocs()
			b.ResetTimer()
			for p := range producers {
				go func() {
					for n := p; n < b.N; n += producers {
						if err := benchTopic.Dispatch(context.Background(), l, n); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range producers {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			stopBench(b, l, handled, b.N)
		})
	}
}

// BenchmarkLocalHandlers is like BenchmarkLocal with 1 goroutine and 10 handlers.
func BenchmarkLocalHandlers(b *testing.B) {
	l, handled := benchLocal(b, 10)
	b.ReportAllocs()
	for n := range b.N {
		if err := benchTopic.Dispatch(context.Background(), l, n); err != nil {
			b.Fatal(err)
		}
	}
	stopBench(b, l, handled, 10*b.N)
}

// BenchmarkLocalLatency dispatches one event at a time to an idle dispatcher and
// waits until its handler runs.
func BenchmarkLocalLatency(b *testing.B) {
	l, err := NewLocal()
	if err != nil {
		b.Fatal(err)
	}
	started := make(chan struct{})
	if _, err := benchTopic.Register(b.Context(), l, func(context.Context, int) error {
		started <- struct{}{}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for n := range b.N {
		if err := benchTopic.Dispatch(context.Background(), l, n); err != nil {
			b.Fatal(err)
		}
		<-started
	}
	if err := l.Stop(context.Background()); err != nil {
		b.Fatal(err)
	}
}

func stopBench(b *testing.B, l *Local, handled *atomic.Int64, want int) {
	b.Helper()
	if err := l.Stop(context.Background()); err != nil {
		b.Fatal(err)
	}
	if n := handled.Load(); n != int64(want) {
		b.Fatalf("handled %d events, want %d", n, want)
	}
}
