package fanfare_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/drivertest"
)

func TestOnlyDispatchingStartsNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	d, err := fanfare.New(drivertest.NewMemory())
	require.NoError(t, err)
	require.NoError(t, number.Dispatch(t.Context(), d, 1))
	l, err := fanfare.NewLocal()
	require.NoError(t, err)
	require.ErrorIs(t, number.Dispatch(t.Context(), l, 1), fanfare.ErrNoHandlerFound)
	require.NoError(t, goleak.Find(before))
}

// plain hides the optional abilities of a broker.
type plain struct{ driver.Broker }

func TestWhatABackendLacksIsATypedError(t *testing.T) {
	d, err := fanfare.New(plain{drivertest.NewMemory()})
	require.NoError(t, err)
	q, ctx := d.Queue("t", ""), t.Context()
	for name, call := range map[string]func() error{
		"Cancel":     func() error { _, err := d.Cancel(ctx, "t", "x"); return err },
		"Reschedule": func() error { _, err := d.Reschedule(ctx, "t", "x", time.Now()); return err },
		"Get":        func() error { _, err := d.Get(ctx, "t", "x"); return err },
		"Status":     func() error { _, err := d.Status(ctx); return err },
		"Purge":      func() error { _, err := q.Purge(ctx); return err },
		"Peek":       func() error { _, err := q.Peek(ctx, 0, 1); return err },
		"Requeue":    func() error { return q.Requeue(ctx, "x") },
		"DeleteDead": func() error { _, err := q.DeleteDead(ctx, "x"); return err },
		"Pause":      func() error { return q.Pause(ctx) },
		"Resume":     func() error { return d.Resume(ctx, "t") },
	} {
		require.ErrorIs(t, call(), fanfare.ErrUnsupported, name)
	}
	c := d.Capabilities()
	require.False(t, c.Cancel || c.Inspect || c.DeadLetters || c.Purge || c.Pause || c.Synchronous)
	require.True(t, c.Durable == plain{drivertest.NewMemory()}.Capabilities().Durable && c.UniqueID)
}
