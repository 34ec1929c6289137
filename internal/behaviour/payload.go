package behaviour

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

// order has what JSON through a map would spoil.
type order struct {
	ID    int64
	Name  string
	Lines map[string][]float64
	Raw   []byte
}

var sample = order{
	ID:    9007199254740993, // not a float64
	Name:  "Zoë 注文 🎺 <&>\u2028",
	Lines: map[string][]float64{"a": {1.5, -2}, "b": nil},
	Raw:   []byte{0, 1, 0xff},
}

func testTypedEventArrivesIdentical(t *testing.T, o opener) {
	d := o.open(t)
	topic := fanfare.NewTopic[order](t.Name())
	got := NewReceived[order]()
	_, err := topic.Register(t.Context(), d, func(_ context.Context, v order) error { got.Add(v); return nil })
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, sample))
	require.NoError(t, topic.Dispatch(t.Context(), d, sample, fanfare.ID("second")))
	for _, v := range got.Wait(t, 2) {
		require.Equal(t, sample, v)
	}
}

func testPayloadsArriveIdentical(t *testing.T, o opener) {
	raw := make([]byte, 100_000)
	for i := range raw {
		raw[i] = byte(i * 7)
	}
	for name, check := range map[string]func(*testing.T, fanfare.Dispatcher, string){
		"bytes":   roundTrip(raw),
		"empty":   roundTrip([]byte{}),
		"string":  roundTrip("a\x00\xffz" + strings.Repeat("ü", 50_000)),
		"int64":   roundTrip(int64(-9223372036854775807)),
		"pointer": roundTrip(&sample),
		"nested":  roundTrip(map[string]any{"a": []any{"b", map[string]any{"c": true}}}),
	} {
		d := o.open(t)
		check(t, d, t.Name()+name)
	}
}

func roundTrip[T any](v T) func(*testing.T, fanfare.Dispatcher, string) {
	return func(t *testing.T, d fanfare.Dispatcher, name string) {
		topic, got := fanfare.NewTopic[T](name), NewReceived[T]()
		_, err := topic.Register(t.Context(), d, func(_ context.Context, v T) error { got.Add(v); return nil })
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, v))
		require.Equal(t, v, got.Wait(t, 1)[0])
	}
}

func testUntypedHandlerDecodes(t *testing.T, o opener) {
	type part struct{ ID int64 }
	d := o.open(t)
	got := NewReceived[any]()
	_, err := d.Register(t.Context(), t.Name(), fanfare.HandleFunc(func(_ context.Context, event any) error {
		whole, err := fanfare.Decode[order](event)
		if err != nil {
			return err
		}
		some, err := fanfare.Decode[part](event)
		if err != nil {
			return err
		}
		got.Add([]any{whole, some})
		return nil
	}))
	require.NoError(t, err)
	require.NoError(t, d.Dispatch(t.Context(), t.Name(), sample))
	require.Equal(t, []any{sample, part{sample.ID}}, got.Wait(t, 1)[0])
}

func testAnyIsDecodedToo(t *testing.T, o opener) {
	d := o.openDurable(t)
	topic, got := fanfare.NewTopic[any](t.Name()), NewReceived[any]()
	_, err := topic.Register(t.Context(), d, func(_ context.Context, v any) error { got.Add(v); return nil })
	require.NoError(t, err)
	require.NoError(t, topic.Dispatch(t.Context(), d, map[string]string{"a": "b"}))
	require.Equal(t, map[string]any{"a": "b"}, got.Wait(t, 1)[0])
}

func testLogsOfUndecodableEventsShowNoPayload(t *testing.T, o opener) {
	type pay struct {
		Card int8
		At   time.Time
	}
	d := o.openDurable(t)
	log := &Logs{}
	logged := o.openDurable(t, log.Option())
	topic := fanfare.NewTopic[pay](t.Name())
	_, err := topic.Register(t.Context(), logged, func(context.Context, pay) error { return nil })
	require.NoError(t, err)
	for _, v := range []any{map[string]int64{"Card": 4111111111111111}, map[string]string{"At": "canary"}, "canary"} {
		require.NoError(t, d.Dispatch(t.Context(), topic.Name(), v))
	}
	Eventually(t, func() bool { return logged.Stats().Dead == 3 }, "all dead")
	letters, err := d.Queue(topic.Name(), "").Dead(t.Context(), 0, 10)
	require.NoError(t, err)
	for _, l := range letters {
		require.Equal(t, fanfare.ReasonUndecodable, l.Reason)
		require.NotContains(t, l.LastError, "canary")
		require.NotContains(t, l.LastError, "4111")
	}
	require.Equal(t, 3, log.Count("event is dead"))
	require.Zero(t, log.Count("canary")+log.Count("4111"))
}

func testErrorsShowNoPayload(t *testing.T, o opener) {
	const secret = "canary-4711"
	d := o.openDurable(t)
	topic := fanfare.NewTopic[map[string]string](t.Name())
	require.NoError(t, topic.Dispatch(t.Context(), d, map[string]string{"password": secret}, fanfare.ID("x"), fanfare.Delay(time.Hour)))
	err := topic.Dispatch(t.Context(), fanfare.Fanout{d}, map[string]string{"password": secret}, fanfare.ID("x"), fanfare.Header("h", secret))
	record, getErr := d.Get(t.Context(), topic.Name(), "x")
	require.NoError(t, getErr)
	for _, shown := range []string{fmt.Sprintf("%v %+v %#v", err, err, err.Error()), fmt.Sprintf("%v %+v", record, record)} {
		require.False(t, strings.Contains(shown, secret), shown)
	}
}
