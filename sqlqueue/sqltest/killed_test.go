package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// work inserts an order for each event, in the transaction that acks it.
func work(e engine, db *sql.DB, d *fanfare.Durable) error {
	prefix := os.Getenv(childPrefix)
	_, err := text.Register(context.Background(), d, func(ctx context.Context, id string) error {
		fmt.Println(id)
		return inTx(ctx, db, func(tx *sql.Tx) error {
			if err := e.insertOrder(ctx, tx, prefix, id); err != nil {
				return err
			}
			return d.InTx(tx).Ack(ctx)
		})
	}, fanfare.Fixed(10*time.Millisecond), fanfare.MaxAttempts(fanfare.Unlimited), fanfare.Lease(time.Second))
	if err != nil {
		return err
	}
	select {}
}

// childRedis names the variable of the Redis that a child relays to.
const childRedis = "FANFARE_TEST_CHILD_REDIS"

// relayAll relays to Redis.
func relayAll(_ engine, _ *sql.DB, d *fanfare.Durable) error {
	there, err := openRedis(os.Getenv(childRedis), os.Getenv(childPrefix))
	if err != nil {
		return err
	}
	if _, err = d.Relay(context.Background(), text.Name(), "redis", there, fanfare.Lease(time.Second)); err != nil {
		return err
	}
	fmt.Println("ready")
	select {}
}

func openRedis(url, prefix string) (*fanfare.Durable, error) {
	return fanfare.OpenRedis(url, fanfare.WithPrefix(prefix), fanfare.WithDedupWindow(time.Hour))
}

// untilDrained starts children in a role and kills them at random, until nothing
// of text is left. The last one is not killed before that.
func (t *inTables) untilDrained(role string, env ...string) {
	t.Helper()
	for range 6 {
		c := startChild(t.T, role, append(t.env(t.source, t.prefix), env...))
		select {
		case <-c.first:
		case <-time.After(patience):
			t.Fatal("the child prints nothing")
		}
		<-time.After(rand.N(100 * time.Millisecond))
		c.kill()
	}
	startChild(t.T, role, append(t.env(t.source, t.prefix), env...))
	drained(t.T, t.d)
}

func (t *inTables) dispatchNumbers(n int) {
	t.Helper()
	var events []any
	for i := range n {
		events = append(events, fanfare.With(fmt.Sprint(i), fanfare.ID(fmt.Sprint(i))))
	}
	require.NoError(t, t.d.DispatchBatch(t.Context(), text.Name(), events))
}

func TestKilledWorkerHasEachEffectOnce(t *testing.T) {
	eachInTables(t, func(t *inTables) {
		t.dispatchNumbers(1000)
		t.untilDrained("work")
		require.Len(t, t.ordersIn(t.T, t.db, t.prefix), 1000) // its key lets no effect happen twice
	})
}

func TestKilledRelayStoresEachEventOnce(t *testing.T) {
	eachInTables(t, func(t *inTables) {
		redis := testsvc.Redis(t).URL
		require.NoError(t, t.d.Queue(text.Name(), "relay:redis").Create(t.Context()))
		t.dispatchNumbers(1000)
		t.untilDrained("relay", childRedis+"="+redis)
		there, err := openRedis(redis, t.prefix)
		require.NoError(t, err)
		behaviour.StopWith(t.T, there)
		got := consume(t.T, there)
		drained(t.T, there)
		require.Len(t, got.all(), 1000)
		for id, n := range got.all() {
			require.Equal(t, 1, n, id)
		}
	})
}
