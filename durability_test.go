package fanfare_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/drivertest"
	"github.com/fanfare-go/fanfare/internal/behaviour"
)

// assessed is the reference broker with a durability that can be set.
type assessed struct {
	*drivertest.Memory
	asked atomic.Int64

	mu    sync.Mutex
	found driver.Durability
	err   error
	hangs time.Duration
}

func (a *assessed) set(level driver.DurabilityLevel, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.found, a.err = driver.Durability{Level: level, Reasons: []string{"said so"}}, err
}

func (a *assessed) Durability(ctx context.Context) (driver.Durability, error) {
	a.asked.Add(1)
	a.mu.Lock()
	found, err, hangs := a.found, a.err, a.hangs
	a.mu.Unlock()
	select {
	case <-ctx.Done():
		return driver.Durability{}, errors.Join(driver.ErrUnavailable, ctx.Err())
	case <-time.After(hangs):
		return found, err
	}
}

// assessing runs test in fake time with a dispatcher over a broker of the level.
func assessing(t *testing.T, level driver.DurabilityLevel, test func(*testing.T, *fanfare.Durable, *assessed, *behaviour.Logs), opts ...fanfare.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, log := &assessed{Memory: drivertest.NewMemory()}, &behaviour.Logs{}
		b.set(level, nil)
		d, err := fanfare.New(b, append(opts, log.Option())...)
		require.NoError(t, err)
		defer func() { require.NoError(t, d.Stop(context.Background())) }()
		test(t, d, b, log)
	})
}

const durabilityLine = "durability of the backend"

func TestDurabilityIsAskedSeldomAndLoggedOnce(t *testing.T) {
	assessing(t, driver.DurabilitySynced, func(t *testing.T, d *fanfare.Durable, b *assessed, log *behaviour.Logs) {
		require.Zero(t, b.asked.Load(), "a constructor asks nothing")
		for range 120 {
			require.NoError(t, number.Dispatch(t.Context(), d, 1))
			pass(time.Second)
		}
		require.EqualValues(t, 4, b.asked.Load())
		require.Equal(t, 1, log.Count(durabilityLine))
		require.Equal(t, 1, log.Count("level=INFO msg=\"fanfare: "+durabilityLine+"\" level=synced"))
	})
}

func TestDurabilityIsAskedByConsumersToo(t *testing.T) {
	assessing(t, driver.DurabilitySeconds, func(t *testing.T, d *fanfare.Durable, b *assessed, log *behaviour.Logs) {
		for _, topic := range []string{"a", "b", "c"} {
			_, err := fanfare.NewTopic[int](topic).Register(t.Context(), d, func(context.Context, int) error { return nil })
			require.NoError(t, err)
		}
		pass(10 * time.Minute)
		require.InDelta(t, 20, b.asked.Load(), 2)
		require.Equal(t, 1, log.Count(durabilityLine))
		b.set(driver.DurabilityNone, nil)
		pass(59 * time.Second)
		require.Equal(t, 1, log.Count("level=ERROR"))
		require.ErrorIs(t, d.Health(t.Context()), fanfare.ErrNotDurable)
		require.ErrorIs(t, number.Dispatch(t.Context(), d, 1), fanfare.ErrNotDurable)
		b.set(driver.DurabilitySeconds, nil)
		pass(59 * time.Second)
		require.NoError(t, d.Health(t.Context()))
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
		require.Equal(t, 3, log.Count(durabilityLine))
	})
}

func TestLowDurabilityIsAWarning(t *testing.T) {
	for level, want := range map[driver.DurabilityLevel]string{
		driver.DurabilityNone: "ERROR", driver.DurabilityUnknown: "WARN", driver.DurabilityProcess: "WARN",
		driver.DurabilitySnapshot: "WARN", driver.DurabilitySeconds: "INFO", driver.DurabilitySynced: "INFO",
	} {
		assessing(t, level, func(t *testing.T, d *fanfare.Durable, _ *assessed, log *behaviour.Logs) {
			_ = number.Dispatch(t.Context(), d, 1)
			require.Equal(t, 1, log.Count("level="+want), level)
			require.Equal(t, 1, log.Count("level="+level.String()), level)
			require.Equal(t, 1, log.Count("said so"))
		})
	}
}

func TestRequireDurability(t *testing.T) {
	for required := driver.DurabilityNone; required <= driver.DurabilitySynced; required++ {
		for level := driver.DurabilityNone; level <= driver.DurabilitySynced; level++ {
			assessing(t, level, func(t *testing.T, d *fanfare.Durable, _ *assessed, _ *behaviour.Logs) {
				_, register := number.Register(t.Context(), d, func(context.Context, int) error { return nil })
				for what, err := range map[string]error{
					"Register":      register,
					"Dispatch":      number.Dispatch(t.Context(), d, 1),
					"DispatchBatch": d.DispatchBatch(t.Context(), number.Name(), []any{1, 2}),
					"Health":        d.Health(t.Context()),
				} {
					if level >= required {
						require.NoError(t, err, "%s on %v, %v required", what, level, required)
						continue
					}
					require.ErrorIs(t, err, fanfare.ErrNotDurable, "%s on %v, %v required", what, level, required)
					require.ErrorContains(t, err, "said so")
				}
			}, fanfare.RequireDurability(required))
		}
	}
}

func TestRequiredDurabilityThatCannotBeAsked(t *testing.T) {
	assessing(t, driver.DurabilitySynced, func(t *testing.T, d *fanfare.Durable, b *assessed, log *behaviour.Logs) {
		down := errors.Join(errors.New("connection refused"), driver.ErrUnavailable)
		b.set(driver.DurabilitySynced, down)
		for range 3 {
			require.ErrorIs(t, number.Dispatch(t.Context(), d, 1), fanfare.ErrUnavailable)
		}
		_, err := number.Register(t.Context(), d, func(context.Context, int) error { return nil })
		require.ErrorIs(t, err, fanfare.ErrUnavailable)
		require.ErrorIs(t, d.Health(t.Context()), fanfare.ErrUnavailable)
		b.set(driver.DurabilitySynced, nil)
		require.NoError(t, number.Dispatch(t.Context(), d, 1), "asked again at once")

		b.set(driver.DurabilitySynced, down) // an answer counts for a while
		pass(40 * time.Second)
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
		pass(20 * time.Second)
		require.ErrorIs(t, number.Dispatch(t.Context(), d, 1), fanfare.ErrUnavailable)
		b.set(driver.DurabilitySynced, nil)
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
		require.Equal(t, 1, log.Count(durabilityLine))
	}, fanfare.RequireDurability(fanfare.DurabilitySynced))
}

// Where nothing is required, a backend that does not answer this question may
// well take events.
func TestDurabilityThatCannotBeAskedHindersNothing(t *testing.T) {
	assessing(t, driver.DurabilityNone, func(t *testing.T, d *fanfare.Durable, b *assessed, log *behaviour.Logs) {
		b.hangs = time.Hour
		var dispatching sync.WaitGroup
		begin := time.Now()
		for range 50 {
			dispatching.Go(func() {
				if err := number.Dispatch(t.Context(), d, 1); err != nil {
					t.Error(err)
				}
			})
		}
		dispatching.Wait()
		require.Equal(t, time.Second, time.Since(begin), "all wait for one question")
		require.EqualValues(t, 1, b.asked.Load())
		require.Zero(t, log.Count(durabilityLine))
		b.hangs = 0
		pass(5 * time.Second)
		require.ErrorIs(t, number.Dispatch(t.Context(), d, 1), fanfare.ErrNotDurable)
	})
}

func TestManyDispatchesShareOneQuestion(t *testing.T) {
	assessing(t, driver.DurabilityProcess, func(t *testing.T, d *fanfare.Durable, b *assessed, _ *behaviour.Logs) {
		b.hangs = time.Hour
		var dispatching sync.WaitGroup
		begin := time.Now()
		for range 50 {
			dispatching.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if err := number.Dispatch(ctx, d, 1); !errors.Is(err, fanfare.ErrUnavailable) {
					t.Errorf("Dispatch = %v, want ErrUnavailable", err)
				}
			})
		}
		dispatching.Wait()
		require.Equal(t, time.Second, time.Since(begin))
		require.EqualValues(t, 1, b.asked.Load())

		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := number.Dispatch(ctx, d, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, fanfare.ErrUnavailable)
	}, fanfare.RequireDurability(fanfare.DurabilityProcess))
}

func TestDurabilityOfABackendThatCannotTell(t *testing.T) {
	d, err := fanfare.New(drivertest.NewMemory())
	require.NoError(t, err)
	_, err = d.Durability(t.Context())
	require.ErrorIs(t, err, fanfare.ErrUnsupported)
	require.False(t, d.Capabilities().Durability)
	_, err = fanfare.New(drivertest.NewMemory(), fanfare.RequireDurability(fanfare.DurabilityProcess))
	require.ErrorIs(t, err, fanfare.ErrOption)
	require.ErrorIs(t, err, fanfare.ErrUnsupported)
}

func TestDurabilityLevelsHaveNames(t *testing.T) {
	for level, want := range map[driver.DurabilityLevel]string{-2: "level -2", -1: "none", 0: "unknown", 4: "synced", 5: "level 5"} {
		require.Equal(t, want, level.String())
	}
}
