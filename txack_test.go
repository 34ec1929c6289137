package fanfare_test

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
)

// acked registers a handler of numbers and dispatches one. It returns the count
// of its runs.
func acked(t *testing.T, d *fanfare.Durable, handle func(ctx context.Context, run int64) error, opts ...fanfare.HandlerOption) *atomic.Int64 {
	t.Helper()
	var runs atomic.Int64
	_, err := number.Register(t.Context(), d, func(ctx context.Context, _ int) error {
		return handle(ctx, runs.Add(1))
	}, append([]fanfare.HandlerOption{fanfare.Fixed(time.Minute), fanfare.Lease(10 * time.Second)}, opts...)...)
	require.NoError(t, err)
	require.NoError(t, number.Dispatch(t.Context(), d, 1, fanfare.ID("one")))
	synctest.Wait()
	return &runs
}

func isGone(t *testing.T, d *fanfare.Durable) {
	t.Helper()
	_, err := d.Get(t.Context(), number.Name(), "one")
	require.ErrorIs(t, err, fanfare.ErrNotFound)
}

func TestTxAck(t *testing.T) {
	failed := errors.New("failed")
	for _, tt := range []struct {
		name    string
		commits bool
		err     error
		panics  bool
		runs    int64         // of the handler, of which the second returns nil
		after   time.Duration // how late the second is
		handled uint64
	}{
		{name: "committed, nil", commits: true, runs: 1, handled: 1},
		{name: "rolled back, nil", runs: 2, after: 10 * time.Second, handled: 2},
		{name: "committed, error", commits: true, err: failed, runs: 1},
		{name: "rolled back, error", err: failed, runs: 2, after: time.Minute, handled: 1},
		{name: "committed, panic", commits: true, panics: true, runs: 1},
		{name: "rolled back, panic", panics: true, runs: 2, after: time.Minute, handled: 1},
		{name: "committed, discard", commits: true, err: fanfare.Discard(failed), runs: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
				begin, second := time.Now(), time.Duration(0)
				runs := acked(t, d, func(ctx context.Context, run int64) error {
					if run > 1 {
						second = time.Since(begin)
						return nil
					}
					tx := new(sql.Tx)
					require.NoError(t, d.InTx(tx).Ack(ctx))
					if tt.commits {
						l.commit(t, tx)
					}
					if tt.panics {
						panic("ouch")
					}
					return tt.err
				})
				pass(time.Hour)
				require.Equal(t, tt.runs, runs.Load())
				require.Equal(t, tt.handled, d.Stats().Handled)
				require.Zero(t, d.Stats().LeaseLost)
				require.GreaterOrEqual(t, second, tt.after)
				require.LessOrEqual(t, second, tt.after+2*time.Second)
				isGone(t, d)
			})
		})
	}
}

func TestTxAckLeavesTheHandlerAlone(t *testing.T) {
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		runs := acked(t, d, func(ctx context.Context, _ int64) error {
			tx := new(sql.Tx)
			require.NoError(t, d.InTx(tx).Ack(ctx))
			<-time.After(time.Minute) // longer than a lease: the transaction takes its time
			require.NoError(t, ctx.Err())
			l.commit(t, tx)
			<-time.After(time.Minute) // renewals say now that it is gone
			return context.Cause(ctx)
		})
		pass(time.Hour)
		require.EqualValues(t, 1, runs.Load())
		require.EqualValues(t, 1, d.Stats().Handled)
		require.Zero(t, d.Stats().LeaseLost)
		isGone(t, d)
	})
}

func TestTxAckAgain(t *testing.T) {
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		runs := acked(t, d, func(ctx context.Context, _ int64) error {
			require.NoError(t, d.InTx(new(sql.Tx)).Ack(ctx)) // rolled back, and all again
			tx := new(sql.Tx)
			require.NoError(t, d.InTx(tx).Ack(ctx))
			require.NoError(t, d.InTx(tx).Ack(ctx))
			l.commit(t, tx)
			return nil
		})
		pass(time.Hour)
		require.EqualValues(t, 1, runs.Load())
		isGone(t, d)
	})
}

func TestTxAckThatFails(t *testing.T) {
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		l.fail = func(verb string) error {
			if verb == "tx settle" {
				return driver.ErrUnavailable
			}
			return nil
		}
		runs := acked(t, d, func(ctx context.Context, run int64) error {
			err := d.InTx(new(sql.Tx)).Ack(ctx)
			require.ErrorIs(t, err, fanfare.ErrUnavailable)
			if run > 1 {
				return nil // its own fault: then it is done without the transaction
			}
			return err
		})
		pass(time.Hour)
		require.EqualValues(t, 2, runs.Load())
		require.EqualValues(t, 1, d.Stats().Retried)
		isGone(t, d)
	})
}

func TestTxAckOfALostLease(t *testing.T) {
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		var down atomic.Bool
		l.fail = func(verb string) error {
			if down.Load() && verb == "extend" {
				return driver.ErrUnavailable
			}
			return nil
		}
		down.Store(true)
		got := make(chan error, 1)
		runs := acked(t, d, func(ctx context.Context, run int64) error {
			if run > 1 {
				return nil
			}
			<-time.After(time.Minute)
			err := d.InTx(new(sql.Tx)).Ack(ctx)
			got <- err
			return err
		})
		pass(time.Hour)
		require.ErrorIs(t, <-got, fanfare.ErrLeaseLost)
		require.EqualValues(t, 2, runs.Load())
		require.EqualValues(t, 1, d.Stats().Handled)
		isGone(t, d)
	})
}

func TestTxAckWhenTheBackendSaysThatItIsLost(t *testing.T) {
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		got := make(chan error, 1)
		acked(t, d, func(ctx context.Context, _ int64) error {
			_, err := d.Purge(ctx, number.Name())
			require.NoError(t, err)
			err = d.InTx(new(sql.Tx)).Ack(ctx)
			got <- err
			return err
		})
		require.ErrorIs(t, <-got, fanfare.ErrLeaseLost)
	})
}

func TestTxAckOutsideOfItsHandler(t *testing.T) {
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		other, err := fanfare.New(l)
		require.NoError(t, err)
		tx := new(sql.Tx)
		require.ErrorIs(t, d.InTx(tx).Ack(t.Context()), fanfare.ErrInvalid)
		//lint:ignore SA1012 the mistake under test
		require.ErrorIs(t, d.InTx(tx).Ack(nil), fanfare.ErrInvalid)
		require.ErrorIs(t, d.InTx(tx).Ack(fanfare.ContextWithDelivery(t.Context(), fanfare.Delivery{ID: "one"})), fanfare.ErrInvalid)

		errs, escaped := make(chan error, 2), make(chan context.Context, 1)
		acked(t, d, func(ctx context.Context, _ int64) error {
			errs <- other.InTx(tx).Ack(ctx)
			errs <- d.InTx(nil).Ack(ctx)
			escaped <- context.WithoutCancel(ctx)
			return nil
		})
		require.ErrorIs(t, <-errs, fanfare.ErrInvalid, "another dispatcher's")
		require.ErrorIs(t, <-errs, fanfare.ErrInvalid, "nil transaction")
		require.ErrorIs(t, d.InTx(tx).Ack(<-escaped), fanfare.ErrLeaseLost, "it has returned")
		isGone(t, d)
	})
}

func TestTxAckAtMostOnce(t *testing.T) {
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		got := make(chan error, 1)
		acked(t, d, func(ctx context.Context, _ int64) error {
			got <- d.InTx(new(sql.Tx)).Ack(ctx)
			return nil
		}, fanfare.AtMostOnce())
		require.ErrorIs(t, <-got, fanfare.ErrInvalid)
	})
}

func TestTxAckThatTimesOut(t *testing.T) {
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		runs := acked(t, d, func(ctx context.Context, run int64) error {
			if run > 1 {
				return nil
			}
			require.NoError(t, d.InTx(new(sql.Tx)).Ack(ctx))
			<-ctx.Done() // rolls the transaction back
			return context.Cause(ctx)
		}, fanfare.Timeout(time.Second))
		pass(time.Hour)
		require.EqualValues(t, 2, runs.Load())
		require.EqualValues(t, 1, d.Stats().Retried)
	})
}

// A Stop that is out of patience gives nothing back that a transaction may yet end.
func TestTxAckAndStop(t *testing.T) {
	for _, commits := range []bool{true, false} {
		inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
			deaf, before, after := make(chan struct{}), make(chan error, 1), make(chan error, 1)
			acked(t, d, func(ctx context.Context, _ int64) error {
				tx := new(sql.Tx)
				before <- d.InTx(tx).Ack(ctx)
				<-deaf
				after <- d.InTx(tx).Ack(context.WithoutCancel(ctx))
				if commits {
					l.commit(t, tx)
				}
				return nil
			})
			require.NoError(t, <-before)
			out, cancel := context.WithCancel(t.Context())
			cancel()
			var left *fanfare.StopError
			require.ErrorAs(t, d.Stop(out), &left)
			require.Equal(t, 1, left.Running)
			require.Zero(t, left.Released)
			close(deaf)
			synctest.Wait()
			require.ErrorIs(t, <-after, fanfare.ErrLeaseLost, "too late to begin")

			other, err := fanfare.New(l)
			require.NoError(t, err)
			var again atomic.Int64
			_, err = number.Register(t.Context(), other, func(context.Context, int) error { again.Add(1); return nil })
			require.NoError(t, err)
			pass(5 * time.Second)
			require.Zero(t, again.Load())
			pass(time.Minute)
			require.Equal(t, !commits, again.Load() == 1)
			require.NoError(t, other.Stop(t.Context()))
		})
	}
}

// An Ack that fails after its lease has run out leaves nothing behind that hides that.
func TestTxAckThatFailsLate(t *testing.T) {
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		begin, lost := time.Now(), time.Duration(0)
		l.fail = func(verb string) error {
			switch verb {
			case "tx settle":
				<-time.After(2 * time.Second)
				return driver.ErrUnavailable
			case "extend":
				return driver.ErrUnavailable
			}
			return nil
		}
		acked(t, d, func(ctx context.Context, run int64) error {
			if run > 1 {
				return nil
			}
			<-time.After(8 * time.Second)
			require.ErrorIs(t, d.InTx(new(sql.Tx)).Ack(ctx), driver.ErrUnavailable)
			<-ctx.Done()
			lost = time.Since(begin)
			return context.Cause(ctx)
		}, fanfare.Timeout(time.Minute))
		pass(time.Hour)
		require.Equal(t, 10*time.Second, lost)
		require.EqualValues(t, 1, d.Stats().LeaseLost)
	})
}
