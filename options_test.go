package fanfare_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/drivertest"
)

func TestWrongOptionsAreErrorsOfTheConstructor(t *testing.T) {
	newLocal := func(o fanfare.Option) error { _, err := fanfare.NewLocal(o); return err }
	newDurable := func(o fanfare.Option) error { _, err := fanfare.New(drivertest.NewMemory(), o); return err }
	newRedis := func(o fanfare.Option) error { _, err := fanfare.OpenRedis("localhost:1", o); return err }
	for name, tt := range map[string]struct {
		option fanfare.Option
		bad    []func(fanfare.Option) error
		good   []func(fanfare.Option) error
	}{
		"nil":                        {nil, all(newLocal, newDurable, newRedis), nil},
		"WithMaxQueued(0)":           {fanfare.WithMaxQueued(0), all(newLocal), nil},
		"WithMaxQueued(1)":           {fanfare.WithMaxQueued(1), all(newDurable, newRedis), all(newLocal)},
		"WithMaxRetry(-2)":           {fanfare.WithMaxRetry(-2), all(newLocal, newDurable), nil},
		"WithMaxRetry(0)":            {fanfare.WithMaxRetry(0), nil, all(newLocal, newDurable, newRedis)},
		"WithMaxRetry(Unlimited)":    {fanfare.WithMaxRetry(fanfare.Unlimited), nil, all(newLocal, newDurable)},
		"WithParallelThreshold(0)":   {fanfare.WithParallelThreshold(0), all(newLocal, newDurable), nil},
		"WithParallelThreshold(1e9)": {fanfare.WithParallelThreshold(1e9), all(newLocal, newDurable), nil},
		"WithTaskMaxDuration(-1)":    {fanfare.WithTaskMaxDuration(-1), all(newLocal, newDurable), nil},
		"WithTickerInterval(0)":      {fanfare.WithTickerInterval(0), all(newLocal, newDurable), nil},
		"WithIdleTimeout(0)":         {fanfare.WithIdleTimeout(0), all(newLocal, newDurable), nil},
		"WithDedupWindow(0)":         {fanfare.WithDedupWindow(0), all(newLocal, newRedis), nil},
		"WithDedupWindow(1h)":        {fanfare.WithDedupWindow(time.Hour), all(newDurable), all(newLocal, newRedis)},
		"WithLease(1ms)":             {fanfare.WithLease(time.Millisecond), all(newDurable, newLocal), nil},
		"WithMaxPayload(1)":          {fanfare.WithMaxPayload(1), all(newDurable), nil},
		"WithPrefix({)":              {fanfare.WithPrefix("a{b"), all(newRedis, newDurable, newLocal), nil},
		"WithPrefix()":               {fanfare.WithPrefix(""), all(newRedis), nil},
		"WithPrefix(app)":            {fanfare.WithPrefix("app"), all(newDurable), all(newRedis)},
		"RequireDurability(9)":       {fanfare.RequireDurability(9), all(newLocal, newDurable, newRedis), nil},
		"RequireDurability(Synced)":  {fanfare.RequireDurability(fanfare.DurabilitySynced), all(newLocal, newDurable), all(newRedis)},
		"RequireDurability(None)":    {fanfare.RequireDurability(fanfare.DurabilityNone), all(newLocal), all(newDurable, newRedis)},
		"WithReplicas(0)":            {fanfare.WithReplicas(0, time.Second), all(newRedis), nil},
		"WithReplicas(1, 5s)":        {fanfare.WithReplicas(1, 5*time.Second), all(newRedis), nil},
		"WithReplicas(1, 1s)":        {fanfare.WithReplicas(1, time.Second), all(newLocal, newDurable), all(newRedis)},
		"WithUnhealthyAfter(0)":      {fanfare.WithUnhealthyAfter(0), all(newDurable), nil},
		"WithBackoff(nil)":           {fanfare.WithBackoff(nil), all(newLocal, newDurable), nil},
		"WithLogger(nil)":            {fanfare.WithLogger(nil), all(newLocal, newDurable), nil},
		"WithCodec(nil)":             {fanfare.WithCodec(nil), all(newDurable), nil},
		"WithMiddleware(nil)":        {fanfare.WithMiddleware(nil), all(newLocal, newDurable), nil},
		//lint:ignore SA1012 the mistake under test
		"WithContext(nil)": {fanfare.WithContext(nil, 0), all(newLocal, newDurable), nil},
		"WithOnDrop(nil)":  {fanfare.WithOnDrop(nil), all(newLocal), nil},
	} {
		for i, open := range tt.bad {
			require.ErrorIs(t, open(tt.option), fanfare.ErrOption, "%s %d", name, i)
		}
		for i, open := range tt.good {
			require.NoError(t, open(tt.option), "%s %d", name, i)
		}
	}
	_, err := fanfare.New(nil)
	require.ErrorIs(t, err, fanfare.ErrOption)
	_, err = fanfare.NewRedis(nil)
	require.ErrorIs(t, err, fanfare.ErrOption)
}

func all(f ...func(fanfare.Option) error) []func(fanfare.Option) error { return f }

func TestWrongEventOptionsAreErrorsOfTheDispatch(t *testing.T) {
	d := openLocal(t)
	_, err := number.Register(t.Context(), d, func(context.Context, int) error { return errors.New("must not run") })
	require.NoError(t, err)
	for name, o := range map[string]fanfare.EventOption{
		"nil":             nil,
		"lonely conflict": fanfare.Replace,
		"empty id":        fanfare.ID(""),
		"long id":         fanfare.ID(string(make([]byte, 256))),
		"id no UTF-8":     fanfare.ID("\xff"),
		"priority":        fanfare.Priority(2),
		"conflict":        fanfare.Conflict(9),
		"attempts":        fanfare.MaxAttempts(0),
		"header key":      fanfare.Header("", "v"),
		"headers too big": fanfare.Header("k", string(make([]byte, 20_000))),
		"far future":      fanfare.At(time.Unix(math.MaxInt32*1000, 0)),
	} {
		require.ErrorIs(t, number.Dispatch(t.Context(), d, 1, o), fanfare.ErrOption, name)
	}
}
