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
				d, _ := DeliveryFrom(ctx)
				if got.add(d); d.Attempt == 1 {
					return io.EOF
				}
				return nil
			}, opts...)
		}
		for _, tt := range []struct {
			want  Delivery // of the first attempt; without ID: any
			delay time.Duration
			opts  []EventOption
		}{
			{want: Delivery{MaxAttempts: 4}},
			{want: Delivery{MaxAttempts: 4, Priority: High}, opts: []EventOption{High}},
			{want: Delivery{MaxAttempts: 7}, opts: []EventOption{MaxAttempts(7)}},
			{want: Delivery{MaxAttempts: 4, ID: "x"}, opts: []EventOption{ID("x")}},
			{want: Delivery{MaxAttempts: 4, ID: "y", Headers: map[string]string{"k": "v"}}, delay: time.Hour,
				opts: []EventOption{ID("y"), Delay(time.Hour), Header("k", "v")}},
			{want: Delivery{MaxAttempts: 4}, delay: time.Hour, opts: []EventOption{Delay(time.Hour)}},
		} {
			got.all = nil
			tt.want.Topic, tt.want.DispatchedAt, tt.want.DueAt = integers.Name(), time.Now(), time.Now().Add(tt.delay)
			dispatch(t, l, 7, tt.opts...)
			pass(2 * time.Hour)
			checkDeliveries(t, tt.want, got.get())
		}
	})
}

// checkDeliveries checks those of two attempts of each of four handlers, a
// minute apart.
func checkDeliveries(t *testing.T, want Delivery, all []Delivery) {
	t.Helper()
	require.Len(t, all, 8)
	require.NotEmpty(t, all[0].ID)
	if want.ID == "" {
		want.ID = all[0].ID // handlers and attempts of one event share it
	}
	attempts := map[string]int{}
	for _, d := range all {
		attempts[d.Group] += d.Attempt
		want, due := want, want.DueAt.Add(time.Duration(d.Attempt-1)*time.Minute)
		require.True(t, d.DispatchedAt.Equal(want.DispatchedAt))
		require.True(t, d.DueAt.Equal(due), "due at %v, want %v", d.DueAt, due)
		want.DispatchedAt, want.DueAt, want.Group = d.DispatchedAt, d.DueAt, d.Group
		want.Attempt, want.Failures, want.Fence = d.Attempt, d.Attempt-1, int64(d.Attempt)
		require.Equal(t, want, d)
	}
	require.Equal(t, map[string]int{"0": 3, "1": 3, "2": 3, "3": 3}, attempts)
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
	for n := range 3 * runLength {
		dispatch(t, l, n)
	}
	require.NoError(t, l.Stop(t.Context()))
	require.Len(t, got, 3*runLength)
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
	for n := range 10 * runLength {
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
