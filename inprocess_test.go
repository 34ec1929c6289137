package fanfare_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

func TestErrorOfASynchronousHandlerIsItsOwn(t *testing.T) {
	d := openLocal(t)
	_, err := number.Register(t.Context(), d, func(context.Context, int) error {
		return fmt.Errorf("insert: %w", fanfare.ErrDuplicate)
	}, fanfare.Synchronous())
	require.NoError(t, err)
	var failed *fanfare.FanoutError
	require.ErrorAs(t, fanfare.Dispatch(t.Context(), number.Name(), 1, d), &failed)
	require.Equal(t, fanfare.Rejected, failed.Outcomes[0].Status)
	require.ErrorIs(t, failed, fanfare.ErrDuplicate)
	require.EqualValues(t, 1, d.Stats().Rejected)
}

func TestRemovedHandlersDelayedEventsAreGone(t *testing.T) {
	d := openLocal(t, fanfare.WithMaxQueued(10))
	r, err := number.Register(t.Context(), d, func(context.Context, int) error { return nil })
	require.NoError(t, err)
	for n := range 10 {
		require.NoError(t, number.Dispatch(t.Context(), d, n, fanfare.Delay(time.Hour), fanfare.ID(fmt.Sprint(n))))
	}
	require.NoError(t, d.Remove(t.Context(), r))
	require.Zero(t, d.Stats().Queued)
	_, err = number.Register(t.Context(), d, func(context.Context, int) error { return nil })
	require.NoError(t, err)
	require.NoError(t, number.Dispatch(t.Context(), d, 1, fanfare.ID("1"), fanfare.Delay(time.Hour)))
}
