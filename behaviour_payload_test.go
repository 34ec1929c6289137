package fanfare_test

import (
	"context"
	"strings"
	"testing"

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

func TestTypedEventArrivesIdentical(t *testing.T) {
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		topic := fanfare.NewTopic[order](t.Name())
		got := newReceived[order]()
		_, err := topic.Register(t.Context(), d, func(_ context.Context, v order) error { got.add(v); return nil })
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, sample))
		require.NoError(t, topic.Dispatch(t.Context(), d, sample, fanfare.ID("second")))
		for _, v := range got.wait(t, 2) {
			require.Equal(t, sample, v)
		}
	})
}

func TestPayloadsArriveIdentical(t *testing.T) {
	raw := make([]byte, 100_000)
	for i := range raw {
		raw[i] = byte(i * 7)
	}
	behaves(t, func(t *testing.T, o opener) {
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
	})
}

func roundTrip[T any](v T) func(*testing.T, fanfare.Dispatcher, string) {
	return func(t *testing.T, d fanfare.Dispatcher, name string) {
		topic, got := fanfare.NewTopic[T](name), newReceived[T]()
		_, err := topic.Register(t.Context(), d, func(_ context.Context, v T) error { got.add(v); return nil })
		require.NoError(t, err)
		require.NoError(t, topic.Dispatch(t.Context(), d, v))
		require.Equal(t, v, got.wait(t, 1)[0])
	}
}

func TestUntypedHandlerDecodes(t *testing.T) {
	type part struct{ ID int64 }
	behaves(t, func(t *testing.T, o opener) {
		d := o.open(t)
		got := newReceived[any]()
		_, err := d.Register(t.Context(), t.Name(), fanfare.HandleFunc(func(_ context.Context, event any) error {
			whole, err := fanfare.Decode[order](event)
			if err != nil {
				return err
			}
			some, err := fanfare.Decode[part](event)
			if err != nil {
				return err
			}
			got.add([]any{whole, some})
			return nil
		}))
		require.NoError(t, err)
		require.NoError(t, d.Dispatch(t.Context(), t.Name(), sample))
		require.Equal(t, []any{sample, part{sample.ID}}, got.wait(t, 1)[0])
	})
}
