package fanfare_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/drivertest"
	"github.com/fanfare-go/fanfare/internal/behaviour"
)

// ledger is the reference broker with transactions, which are but names here: a
// *sql.Tx is never asked for anything.
type ledger struct {
	*faulty
	mu   sync.Mutex
	open map[*sql.Tx]*page
}

func (l *ledger) InTx(tx *sql.Tx) driver.Tx {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[tx] == nil {
		l.open[tx] = &page{of: l}
	}
	return l.open[tx]
}

// commit does what was done in tx.
func (l *ledger) commit(t *testing.T, tx *sql.Tx) {
	t.Helper()
	l.mu.Lock()
	p := l.open[tx]
	delete(l.open, tx)
	l.mu.Unlock()
	for _, do := range p.deeds {
		require.NoError(t, do())
	}
}

// page is what was done in one transaction.
type page struct {
	of    *ledger
	deeds []func() error
	ended map[string]bool // tokens
}

func (p *page) Push(_ context.Context, topic string, msgs []driver.Message) ([]error, error) {
	p.deeds = append(p.deeds, func() error {
		errs, err := p.of.Memory.Push(context.Background(), topic, msgs)
		return errors.Join(err, errors.Join(errs...))
	})
	return make([]error, len(msgs)), p.of.failing("tx push")
}

func (p *page) Cancel(ctx context.Context, topic, id string) (bool, error) {
	p.deeds = append(p.deeds, func() error {
		_, err := p.of.Memory.Cancel(context.Background(), topic, id)
		return err
	})
	return p.waits(ctx, topic, id)
}

func (p *page) Reschedule(ctx context.Context, topic, id string, at time.Time) (bool, error) {
	p.deeds = append(p.deeds, func() error {
		_, err := p.of.Memory.Reschedule(context.Background(), topic, id, at)
		return err
	})
	return p.waits(ctx, topic, id)
}

func (p *page) waits(ctx context.Context, topic, id string) (bool, error) {
	r, err := p.of.Get(ctx, driver.Queue{Topic: topic, Group: driver.DefaultGroup}, id)
	if errors.Is(err, driver.ErrNotFound) {
		return false, nil
	}
	return err == nil && r.State != driver.Running, err
}

func (p *page) Settle(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error) {
	if err := p.of.failing("tx settle"); err != nil {
		return nil, err
	}
	errs := make([]error, len(s))
	for i, one := range s {
		if p.ended[one.Token] {
			continue
		}
		lost, err := p.of.Memory.Extend(ctx, q, "tx", time.Nanosecond, []driver.Receipt{one.Receipt})
		if err != nil {
			return nil, err
		}
		if lost[0] { // or ended already, which Settle knows and has no effect on
			outcome, err := p.of.Memory.Settle(ctx, q, []driver.Settlement{one})
			if err != nil {
				return nil, err
			}
			errs[i] = outcome[0]
			continue
		}
		p.ended = map[string]bool{one.Token: true}
		p.deeds = append(p.deeds, func() error {
			errs, err := p.of.Memory.Settle(context.Background(), q, []driver.Settlement{one})
			return errors.Join(err, errors.Join(errs...))
		})
	}
	return errs, nil
}

// inTxTime runs test in a synctest bubble with a dispatcher over a ledger.
func inTxTime(t *testing.T, test func(t *testing.T, d *fanfare.Durable, l *ledger), opts ...fanfare.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{faulty: &faulty{Memory: drivertest.NewMemory()}, open: map[*sql.Tx]*page{}}
		d, err := fanfare.New(l, opts...)
		require.NoError(t, err)
		defer func() {
			ctx, cancel := contextFor(time.Minute)
			defer cancel()
			_ = d.Stop(ctx)
		}()
		test(t, d, l)
	})
}

func TestTxDispatchesWithTheCommit(t *testing.T) {
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		committed, rolledBack := new(sql.Tx), new(sql.Tx)
		require.NoError(t, number.Dispatch(t.Context(), d.InTx(rolledBack), 1))
		require.NoError(t, number.Dispatch(t.Context(), d.InTx(committed), 2,
			fanfare.ID("two"), fanfare.Delay(time.Minute), fanfare.Header("tenant", "acme"), fanfare.High))
		require.NoError(t, d.DispatchTx(t.Context(), committed, number.Name(), 3))
		require.NoError(t, number.DispatchBatch(t.Context(), d.InTx(committed), []int{4, 5}))
		require.Empty(t, stored(t, d))
		l.commit(t, committed)
		all := stored(t, d)
		require.Len(t, all, 4)
		two := all[3]
		require.Equal(t, "two", two.ID)
		require.Equal(t, fanfare.Delayed, two.State)
		require.Equal(t, time.Now().Add(time.Minute), two.Time)
		require.Equal(t, fanfare.High, two.Priority)
		require.Equal(t, map[string]string{"tenant": "acme"}, two.Headers)
		require.EqualValues(t, 5, d.Stats().Dispatched, "of which one was rolled back")
	})
}

func TestTxCancelsWithTheCommit(t *testing.T) {
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		tx, later := new(sql.Tx), time.Now().Add(2*time.Hour)
		for n, id := range []string{"canceled", "rescheduled"} {
			require.NoError(t, number.Dispatch(t.Context(), d, n, fanfare.ID(id), fanfare.Delay(time.Hour)))
		}
		ok, err := d.InTx(tx).Cancel(t.Context(), number.Name(), "canceled")
		require.NoError(t, err)
		require.True(t, ok)
		ok, err = d.InTx(tx).Reschedule(t.Context(), number.Name(), "rescheduled", later)
		require.NoError(t, err)
		require.True(t, ok)
		ok, err = d.InTx(tx).Cancel(t.Context(), number.Name(), "unknown")
		require.NoError(t, err)
		require.False(t, ok)
		require.Len(t, stored(t, d), 2)
		l.commit(t, tx)
		all := stored(t, d)
		require.Len(t, all, 1)
		require.Equal(t, "rescheduled", all[0].ID)
		require.Equal(t, later, all[0].Time)
	})
}

func TestTxIsSeenLikeItsDispatcher(t *testing.T) {
	seen, observed := behaviour.NewReceived[string](), behaviour.NewReceived[fanfare.Observation]()
	see := func(next fanfare.DispatchFunc) fanfare.DispatchFunc {
		return func(ctx context.Context, topic string, event any) error {
			seen.Add(topic)
			return next(ctx, topic, fanfare.With(event, fanfare.Header("seen", "yes")))
		}
	}
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		tx := new(sql.Tx)
		require.NoError(t, number.Dispatch(t.Context(), d.InTx(tx), 1, fanfare.ID("one")))
		require.NoError(t, number.DispatchBatch(t.Context(), d.InTx(tx), []int{2, 3}))
		require.ErrorIs(t, d.DispatchTx(t.Context(), tx, number.Name(), make([]byte, 2<<10)), fanfare.ErrTooLarge)
		require.ErrorIs(t, d.DispatchTx(t.Context(), tx, "", 1), fanfare.ErrNoTopicSpecified)
		require.ErrorIs(t, d.DispatchTx(t.Context(), tx, number.Name(), fanfare.With(1, fanfare.ID(""))), fanfare.ErrOption)
		l.commit(t, tx)
		for _, r := range stored(t, d) {
			require.Equal(t, map[string]string{"seen": "yes"}, r.Headers)
		}
		require.Len(t, seen.All(), 6)
		all := observed.All()
		require.Equal(t, "one", all[0].ID)
		require.ErrorIs(t, all[3].Err, fanfare.ErrTooLarge)
		require.EqualValues(t, 3, d.Stats().Dispatched)
	}, fanfare.WithDispatchMiddleware(see), fanfare.WithMaxPayload(1<<10),
		fanfare.WithObserver(fanfare.Observer{Dispatched: func(o fanfare.Observation) { observed.Add(o) }}))
}

func TestTxFails(t *testing.T) {
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		all := func(tx *fanfare.Tx) []error {
			_, canceled := tx.Cancel(t.Context(), number.Name(), "id")
			_, rescheduled := tx.Reschedule(t.Context(), number.Name(), "id", time.Now())
			return []error{number.Dispatch(t.Context(), tx, 1), number.DispatchBatch(t.Context(), tx, []int{1, 2}), canceled, rescheduled}
		}
		for _, err := range all(d.InTx(nil)) {
			require.ErrorIs(t, err, fanfare.ErrInvalid)
		}
		for _, err := range all(newDurable().InTx(new(sql.Tx))) {
			require.ErrorIs(t, err, fanfare.ErrUnsupported)
		}
		require.True(t, d.Capabilities().Tx)
		require.False(t, newDurable().Capabilities().Tx)
		require.ErrorIs(t, number.Dispatch(t.Context(), (*fanfare.Tx)(nil), 1), fanfare.ErrNilDispatcher)
		require.ErrorIs(t, number.DispatchBatch(t.Context(), (*fanfare.Tx)(nil), []int{1}), fanfare.ErrNilDispatcher)
		require.ErrorIs(t, number.DispatchBatch(t.Context(), (*fanfare.Durable)(nil), []int{1}), fanfare.ErrNilDispatcher)

		l.fail = func(string) error { return driver.ErrUnavailable }
		require.ErrorIs(t, d.DispatchTx(t.Context(), new(sql.Tx), number.Name(), 1), fanfare.ErrUnavailable)
		l.fail = nil
		require.NoError(t, d.Stop(t.Context()))
		require.ErrorIs(t, d.DispatchTx(t.Context(), new(sql.Tx), number.Name(), 1), fanfare.ErrStopped)
	})
}

func TestTxInAHandlerNamesItsCause(t *testing.T) {
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		tx, next := new(sql.Tx), fanfare.NewTopic[int]("next")
		_, err := number.Register(t.Context(), d, func(ctx context.Context, n int) error {
			return next.Dispatch(ctx, d.InTx(tx), n)
		})
		require.NoError(t, err)
		require.NoError(t, number.Dispatch(t.Context(), d, 1, fanfare.ID("one")))
		synctest.Wait()
		l.commit(t, tx)
		all, err := d.Queue(next.Name(), "").Peek(t.Context(), 0, 1)
		require.NoError(t, err)
		require.Equal(t, "one", all[0].Headers[fanfare.HeaderCausation])
	})
}

func TestClaimedAckTx(t *testing.T) {
	inTxTime(t, func(t *testing.T, d *fanfare.Durable, l *ledger) {
		q := d.Queue(number.Name(), "")
		require.NoError(t, number.Dispatch(t.Context(), d, 1))
		claim := func() *fanfare.Claimed {
			all, err := q.Claim(t.Context(), 1, time.Second)
			require.NoError(t, err)
			require.Len(t, all, 1)
			return all[0]
		}
		late := claim()
		require.NoError(t, late.AckTx(t.Context(), new(sql.Tx))) // rolled back
		require.ErrorIs(t, late.AckTx(t.Context(), nil), fanfare.ErrInvalid)
		pass(2 * time.Second)
		c, tx := claim(), new(sql.Tx)
		require.ErrorIs(t, late.AckTx(t.Context(), tx), fanfare.ErrLeaseLost)
		require.NoError(t, c.AckTx(t.Context(), tx))
		l.commit(t, tx)
		pass(2 * time.Second)
		all, err := q.Claim(t.Context(), 1, time.Second)
		require.NoError(t, err)
		require.Empty(t, all)
	})
}
