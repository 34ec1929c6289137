package fanfare_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

// answering is a dispatcher that gives the answers it is made of, one a call.
type answering struct {
	fanfare.Dispatcher
	name    string
	answers []error
	calls   *[]string
}

func (a *answering) Dispatch(context.Context, string, any) error {
	*a.calls = append(*a.calls, a.name)
	err := a.answers[0]
	a.answers = a.answers[1:]
	return err
}

func TestDispatchRefusesBadArgumentsBeforeItSends(t *testing.T) {
	var calls []string
	ok := &answering{name: "ok", calls: &calls}
	var none *fanfare.Local
	var noEvent *Order
	for name, tt := range map[string]struct {
		topic string
		event any
		to    []fanfare.Dispatcher
		want  error
	}{
		"no topic":            {"", 1, []fanfare.Dispatcher{ok}, fanfare.ErrNoTopicSpecified},
		"long topic":          {string(make([]byte, 256)), 1, []fanfare.Dispatcher{ok}, fanfare.ErrInvalid},
		"topic no UTF-8":      {"\xff", 1, []fanfare.Dispatcher{ok}, fanfare.ErrInvalid},
		"nil event":           {"t", nil, []fanfare.Dispatcher{ok}, fanfare.ErrNoEventSpecified},
		"nil pointer":         {"t", noEvent, []fanfare.Dispatcher{ok}, fanfare.ErrNoEventSpecified},
		"nil with options":    {"t", fanfare.With(nil, fanfare.ID("x")), []fanfare.Dispatcher{ok}, fanfare.ErrNoEventSpecified},
		"no dispatcher":       {"t", 1, []fanfare.Dispatcher{nil}, fanfare.ErrNoDispatcherSpecified},
		"nil among them":      {"t", 1, []fanfare.Dispatcher{ok, nil}, fanfare.ErrNilDispatcher},
		"nil pointer of them": {"t", 1, []fanfare.Dispatcher{ok, none}, fanfare.ErrNilDispatcher},
		"twice":               {"t", 1, []fanfare.Dispatcher{ok, ok}, fanfare.ErrSameDispatcher},
		"wrong option":        {"t", fanfare.With(1, fanfare.ID("")), []fanfare.Dispatcher{ok}, fanfare.ErrOption},
	} {
		err := fanfare.Dispatch(t.Context(), tt.topic, tt.event, tt.to[0], tt.to[1:]...)
		require.ErrorIs(t, err, tt.want, name)
	}
	require.ErrorIs(t, fanfare.Fanout{}.Dispatch(t.Context(), "t", 1), fanfare.ErrNoDispatcherSpecified)
	require.Empty(t, calls)
}

func TestFanoutTriesAllInOrderAndTellsEach(t *testing.T) {
	var calls []string
	all := fanfare.Fanout{
		&answering{name: "a", calls: &calls, answers: []error{errors.New("disk"), nil}},
		&answering{name: "b", calls: &calls, answers: []error{nil}},
		&answering{name: "c", calls: &calls, answers: []error{fmt.Errorf("net: %w", fanfare.ErrUnknownOutcome), fanfare.ErrDuplicate}},
		&answering{name: "d", calls: &calls, answers: []error{fanfare.ErrDuplicate}},
	}
	err := all.Dispatch(t.Context(), "t", fanfare.With(1, fanfare.ID("x")))
	require.Equal(t, []string{"a", "b", "c", "d"}, calls)
	var failed *fanfare.FanoutError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "x", failed.ID)
	require.Equal(t, "t", failed.Topic)
	var got []fanfare.OutcomeStatus
	for i, o := range failed.Outcomes {
		require.Same(t, all[i], o.Dispatcher)
		got = append(got, o.Status)
	}
	require.Equal(t, []fanfare.OutcomeStatus{fanfare.Rejected, fanfare.Accepted, fanfare.Unknown, fanfare.Duplicate}, got)
	require.ErrorIs(t, err, fanfare.ErrUnknownOutcome)
	require.ErrorIs(t, err, fanfare.ErrDuplicate)
	require.ErrorContains(t, err, "disk")

	calls = nil
	require.NoError(t, failed.Redispatch(t.Context()), "a accepts now, c had accepted before")
	require.Equal(t, []string{"a", "c"}, calls, "only those that failed")
}

func TestRedispatchReportsWhatIsStillOpen(t *testing.T) {
	var calls []string
	all := fanfare.Fanout{
		&answering{name: "a", calls: &calls, answers: []error{errors.New("no"), errors.New("still not"), nil}},
		&answering{name: "b", calls: &calls, answers: []error{errors.New("no"), nil}},
	}
	var failed, left *fanfare.FanoutError
	require.ErrorAs(t, all.Dispatch(t.Context(), "t", 1), &failed)
	require.ErrorAs(t, failed.Redispatch(t.Context()), &left)
	require.Len(t, left.Outcomes, 2)
	require.Equal(t, fanfare.Rejected, left.Outcomes[0].Status)
	require.Equal(t, fanfare.Accepted, left.Outcomes[1].Status)
	require.Equal(t, failed.ID, left.ID)
	require.NoError(t, left.Redispatch(t.Context()))
	require.Equal(t, []string{"a", "b", "a", "b", "a"}, calls)
}

// countedDelay counts how often it is asked.
type countedDelay struct{ asked *atomic.Int64 }

func (c countedDelay) Delayed() time.Duration { c.asked.Add(1); return time.Hour }

func TestFanoutAsksForTheDelayOnce(t *testing.T) {
	asked := &atomic.Int64{}
	require.NoError(t, fanfare.Dispatch(t.Context(), "t", countedDelay{asked}, newDurable(), newDurable()))
	require.EqualValues(t, 1, asked.Load())
}
