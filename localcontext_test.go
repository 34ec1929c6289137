package fanfare

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDeliveryOfALocalEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, got := open(t), list[Delivery]{}
		for n := range 4 {
			opts := []HandlerOption{Group(fmt.Sprint(n)), Fixed(time.Minute)}
			if n == 3 {
				opts = append(opts, Concurrency(1))
			}
			listen(t, l, func(ctx context.Context, _ int) error {
				d, ok := DeliveryFrom(ctx)
				require.True(t, ok)
				got.add(d)
				if d.Attempt == 1 {
					return io.EOF
				}
				return nil
			}, opts...)
		}
		for _, tt := range []struct {
			id       string
			delay    time.Duration
			limit    int
			priority Priority
			opts     []EventOption
		}{
			{},
			{priority: High, opts: []EventOption{High}},
			{limit: 7, opts: []EventOption{MaxAttempts(7)}},
			{id: "x", opts: []EventOption{ID("x")}},
			{id: "y", delay: time.Hour, opts: []EventOption{ID("y"), Delay(time.Hour), Header("k", "v")}},
			{delay: time.Hour, opts: []EventOption{Delay(time.Hour)}},
		} {
			begin := time.Now()
			got.all = nil
			dispatch(t, l, 7, tt.opts...)
			pass(2 * time.Hour)
			all := got.get()
			require.Len(t, all, 8)
			groups := map[string]int{}
			for _, d := range all {
				require.NotEmpty(t, d.ID)
				require.Equal(t, all[0].ID, d.ID, "handlers and attempts of one event share its id")
				if tt.id != "" {
					require.Equal(t, tt.id, d.ID)
				}
				require.Equal(t, integers.Name(), d.Topic)
				require.EqualValues(t, d.Attempt, d.Fence)
				require.Equal(t, d.Attempt-1, d.Failures)
				require.Equal(t, max(tt.limit, 4), d.MaxAttempts, "the event's, or the default")
				require.Equal(t, tt.priority, d.Priority)
				require.True(t, d.DispatchedAt.Equal(begin))
				due := begin.Add(tt.delay)
				if d.Attempt == 2 {
					due = due.Add(time.Minute)
				}
				require.True(t, d.DueAt.Equal(due), "due at %v, want %v", d.DueAt, due)
				if tt.id == "y" {
					require.Equal(t, map[string]string{"k": "v"}, d.Headers)
				} else {
					require.Empty(t, d.Headers)
				}
				groups[d.Group] += d.Attempt
			}
			require.Equal(t, map[string]int{"0": 3, "1": 3, "2": 3, "3": 3}, groups)
		}
	})
}

func TestPlainEventsHaveTheirOwnIDs(t *testing.T) {
	l, got := open(t, WithParallelThreshold(1)), map[string]int{}
	for range 3 {
		listen(t, l, func(ctx context.Context, _ int) error {
			d, _ := DeliveryFrom(ctx)
			got[d.ID]++
			return nil
		})
	}
	for n := range 3 * contextSlab {
		dispatch(t, l, n)
	}
	require.NoError(t, l.Stop(t.Context()))
	require.Len(t, got, 3*contextSlab)
	for _, n := range got {
		require.Equal(t, 3, n)
	}
}

func TestHandlerMayKeepItsContext(t *testing.T) {
	l := open(t, WithParallelThreshold(1))
	var kept []context.Context
	var known []Delivery
	listen(t, l, func(ctx context.Context, n int) error {
		kept = append(kept, ctx)
		d, _ := DeliveryFrom(ctx)
		known = append(known, d)
		return nil
	})
	for n := range 10 * contextSlab {
		dispatch(t, l, n)
	}
	require.NoError(t, l.Stop(t.Context()))
	for i, ctx := range kept {
		d, ok := DeliveryFrom(ctx)
		require.True(t, ok)
		require.Equal(t, known[i].ID, d.ID)
		require.Equal(t, ErrStopped, context.Cause(ctx), "it ends with the dispatcher")
		require.NotContains(t, fmt.Sprint(ctx), d.ID)
	}
}

func TestContextsDerivedFromALocalOneNeedNoGoroutine(t *testing.T) {
	l, more := open(t), make(chan int, 1)
	listen(t, l, func(ctx context.Context, _ int) error {
		if _, ok := ctx.Deadline(); ok || ctx.Err() != nil {
			t.Error("the context ends")
		}
		before := runtime.NumGoroutine()
		for range 100 {
			_, cancel := context.WithCancel(ctx)
			defer cancel()
		}
		more <- runtime.NumGoroutine() - before
		return nil
	})
	dispatch(t, l, 1)
	require.Less(t, <-more, 50)
}
