package fanfare

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare/driver"
)

// slowBroker has calls of Push wait until they are let go.
type slowBroker struct {
	driver.Broker
	calls chan *slowCall
}

type slowCall struct {
	ctx    context.Context
	ids    []string
	answer chan func(n int) ([]error, error)
}

func (b *slowBroker) Push(ctx context.Context, _ string, msgs []driver.Message) ([]error, error) {
	c := &slowCall{ctx: ctx, answer: make(chan func(int) ([]error, error), 1)}
	for _, m := range msgs {
		c.ids = append(c.ids, m.ID)
	}
	b.calls <- c
	select {
	case f := <-c.answer:
		return f(len(msgs))
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, context.Cause(ctx))
	}
}

func fine(n int) ([]error, error) { return make([]error, n), nil }

// traffic is convoys on their way to a slow broker, in a bubble of fake time.
type traffic struct {
	*testing.T
	convoys
	slow *slowBroker
	wg   sync.WaitGroup

	mu  sync.Mutex
	got map[string]error
}

func newTraffic(t *testing.T) *traffic {
	tr := &traffic{T: t, slow: &slowBroker{calls: make(chan *slowCall, 10)}, got: map[string]error{}}
	tr.broker = tr.slow
	return tr
}

// push pushes messages concurrently, and returns when all of them wait.
func (t *traffic) push(ctx context.Context, msgs ...driver.Message) {
	for _, m := range msgs {
		t.wg.Go(func() {
			errs, err := t.Push(ctx, "topic", []driver.Message{m})
			if err == nil {
				err = errs[0]
			}
			t.mu.Lock()
			defer t.mu.Unlock()
			t.got[m.ID] = err
		})
		synctest.Wait()
	}
}

// full pushes as many messages as may be under way, and returns their calls.
func (t *traffic) full() []*slowCall {
	var calls []*slowCall
	for i := range convoyCalls {
		t.push(t.Context(), driver.Message{ID: fmt.Sprint("first", i)})
		calls = append(calls, t.next())
		require.Equal(t, []string{fmt.Sprint("first", i)}, calls[i].ids, "it goes at once")
	}
	return calls
}

func (t *traffic) next() *slowCall {
	synctest.Wait()
	require.NotEmpty(t, t.slow.calls, "a call is under way")
	return <-t.slow.calls
}

func (t *traffic) none() {
	synctest.Wait()
	require.Empty(t, t.slow.calls, "no call is under way")
}

// end answers what is under way, and requires that nothing is left.
func (t *traffic) end(calls ...*slowCall) {
	for _, c := range calls {
		c.answer <- fine
	}
	t.wg.Wait()
	synctest.Wait()
	require.Empty(t, t.topics)
}

func messages(ids ...string) []driver.Message {
	var msgs []driver.Message
	for _, id := range ids {
		msgs = append(msgs, driver.Message{ID: id})
	}
	return msgs
}

func TestConcurrentDispatchesShareACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTraffic(t)
		first := tr.full()
		tr.push(t.Context(), messages("a", "b", "c")...)
		tr.none()
		first[0].answer <- fine
		shared := tr.next()
		require.Equal(t, []string{"a", "b", "c"}, shared.ids)
		shared.answer <- func(int) ([]error, error) { return []error{nil, driver.ErrDuplicate, nil}, nil }
		tr.end(first[1:]...)
		require.Equal(t, map[string]error{"first0": nil, "first1": nil, "a": nil, "b": driver.ErrDuplicate, "c": nil}, tr.got)
	})
}

func TestConvoyGoesAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTraffic(t)
		begin, first := time.Now(), tr.full()
		tr.push(t.Context(), messages("a", "b")...)
		shared := <-tr.slow.calls
		require.Equal(t, convoyPatience, time.Since(begin))
		require.Equal(t, []string{"a", "b"}, shared.ids)
		tr.push(t.Context(), messages("c")...)
		shared.answer <- fine
		next := tr.next()
		require.Equal(t, []string{"c"}, next.ids, "as two are still under way")
		tr.end(append(first, next)...)
	})
}

func TestConvoyTakesOnlySoMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTraffic(t)
		first := tr.full()
		for i := range convoyRiders + 1 {
			tr.push(t.Context(), messages(fmt.Sprint(i))...)
		}
		for i := range convoyBytes/convoyBody + 1 {
			tr.push(t.Context(), driver.Message{ID: fmt.Sprint("large", i), Body: make([]byte, convoyBody)})
		}
		tr.none()
		first[0].answer <- fine
		a := tr.next()
		a.answer <- fine
		b := tr.next()
		b.answer <- fine
		c := tr.next()
		require.Len(t, a.ids, convoyRiders)
		require.Len(t, b.ids, 1+convoyBytes/convoyBody, "one small, the others large")
		require.Len(t, c.ids, 1)
		tr.end(append(first[1:], c)...)
	})
}

func TestSomeMessagesGoAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTraffic(t)
		calls := tr.full()
		for _, m := range []driver.Message{
			{ID: "large", Body: make([]byte, convoyBody+1)}, {ID: "replaces", Conflict: driver.Replace},
		} {
			tr.push(t.Context(), m)
			calls = append(calls, tr.next())
		}
		tr.end(calls...)
	})
}

func TestRidersMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTraffic(t)
		first := tr.full()
		early, leaveEarly := context.WithCancel(t.Context())
		late, leaveLate := context.WithCancel(t.Context())
		tr.push(early, messages("early")...)
		tr.push(late, messages("late", "later")...)
		leaveEarly()
		synctest.Wait()
		require.ErrorIs(t, tr.got["early"], driver.ErrUnavailable)
		require.ErrorIs(t, tr.got["early"], context.Canceled)
		first[0].answer <- fine
		shared := tr.next()
		require.Equal(t, []string{"late", "later"}, shared.ids)
		require.NoError(t, shared.ctx.Err())
		leaveLate()
		synctest.Wait()
		require.Error(t, shared.ctx.Err(), "nobody waits for it")
		require.ErrorIs(t, tr.got["late"], driver.ErrUnknownOutcome)
		require.ErrorIs(t, tr.got["later"], context.Canceled)

		gone, leave := context.WithCancel(t.Context())
		tr.push(t.Context(), messages("again")...)
		again := tr.next()
		tr.push(gone, messages("nobody")...)
		leave()
		synctest.Wait()
		tr.end(first[1], again)
		tr.none()
	})
}

func TestBrokersThatBreakConvoys(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(n int) ([]error, error)
		check  func(t *testing.T, err error)
	}{
		"an error": {
			func(int) ([]error, error) { return nil, driver.ErrReadOnly },
			func(t *testing.T, err error) { require.ErrorIs(t, err, driver.ErrReadOnly) },
		},
		"a panic": {
			func(int) ([]error, error) { panic("broken") },
			func(t *testing.T, err error) {
				var p *PanicError
				require.True(t, errors.As(err, &p))
			},
		},
		"too few outcomes": {
			func(int) ([]error, error) { return nil, nil },
			func(t *testing.T, err error) { require.ErrorIs(t, err, driver.ErrUnknownOutcome) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newTraffic(t)
				first := tr.full()
				tr.push(t.Context(), messages("a", "b")...)
				first[0].answer <- fine
				tr.next().answer <- tt.answer
				tr.end(first[1:]...)
				tt.check(t, tr.got["a"])
				tt.check(t, tr.got["b"])
			})
		})
	}
}

func TestConvoyThatAllHaveLeftTakesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTraffic(t)
		first := tr.full()
		gone, leave := context.WithCancel(t.Context())
		tr.push(gone, messages("gone")...)
		leave()
		synctest.Wait()
		tr.push(t.Context(), messages("other")...)
		first[0].answer <- fine
		next := tr.next()
		require.Equal(t, []string{"other"}, next.ids)
		require.NoError(t, next.ctx.Err())
		tr.end(first[1], next)
		require.NoError(t, tr.got["other"])
	})
}
