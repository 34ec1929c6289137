package fanfare_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// hostile is a dispatcher that does what it is made of.
type hostile struct {
	fanfare.Dispatcher
	dispatch func(ctx context.Context) error
}

func (h *hostile) Dispatch(ctx context.Context, _ string, _ any) error { return h.dispatch(ctx) }

// One target that is down, slow or panics costs the others nothing.
func TestFanoutWithABadTarget(t *testing.T) {
	t.Parallel()
	frozen := testsvc.StartRedis(t)
	slow := onRedis(t, frozen)
	require.NoError(t, number.Dispatch(t.Context(), slow, 0))
	frozen.Pause()
	defer frozen.Resume()
	dead := testsvc.StartRedis(t)
	dead.Kill()
	for name, tt := range map[string]struct {
		bad    fanfare.Dispatcher
		status fanfare.OutcomeStatus
		want   error
	}{
		"down":    {onRedis(t, dead), fanfare.Rejected, fanfare.ErrUnavailable},
		"slow":    {slow, fanfare.Unknown, context.DeadlineExceeded},
		"panics":  {&hostile{dispatch: func(context.Context) error { panic(errors.New("broken pipe")) }}, fanfare.Unknown, nil},
		"refuses": {&hostile{dispatch: func(context.Context) error { return fanfare.ErrBackendFull }}, fanfare.Rejected, fanfare.ErrBackendFull},
	} {
		first, last := openLocal(t), openLocal(t)
		got := behaviour.NewReceived[int]()
		for _, d := range []fanfare.Dispatcher{first, last} {
			_, err := number.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil })
			require.NoError(t, err)
		}
		ctx, cancel := contextFor(300 * time.Millisecond)
		begin := time.Now()
		err := fanfare.Dispatch(ctx, number.Name(), 1, first, tt.bad)
		cancel()
		require.Less(t, time.Since(begin), 300*time.Millisecond+overrun, name)
		var failed *fanfare.FanoutError
		require.ErrorAs(t, err, &failed, name)
		require.Equal(t, []fanfare.OutcomeStatus{fanfare.Accepted, tt.status}, []fanfare.OutcomeStatus{failed.Outcomes[0].Status, failed.Outcomes[1].Status}, name)
		if tt.want != nil {
			require.ErrorIs(t, err, tt.want, name)
		}
		require.Error(t, fanfare.Dispatch(t.Context(), number.Name(), 2, &hostile{dispatch: func(context.Context) error { panic("early") }}, last), name)
		require.ElementsMatch(t, []int{1, 2}, got.Wait(t, 2), name)
	}
}
