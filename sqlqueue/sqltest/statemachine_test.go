package sqltest

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/statemachine"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// The brokers take the time of the database, so the runs are in real time.
func TestStateMachine(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		db := e.open(t, e.source(t))
		opts := []sqlqueue.Option{sqlqueue.WithPrefix(newPrefix()), sqlqueue.WithDedupWindow(statemachine.Window)}
		brokers := []driver.Broker{e.broker(t, db, opts...), e.broker(t, db, opts...)}
		statemachine.Run(t, statemachine.Harness{
			Budget: 6 * time.Second,
			New: func(testing.TB) statemachine.Backend {
				return statemachine.Backend{Brokers: brokers, Topic: rand.Text()}
			},
		})
	})
}
