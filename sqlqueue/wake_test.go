package sqlqueue

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strconv"
	"testing"

	events "github.com/fanfare-go/fanfare/driver"
)

// noDatabase is one that cannot be reached.
type noDatabase struct{}

func (noDatabase) Connect(context.Context) (driver.Conn, error) {
	return nil, errors.New("no database")
}
func (noDatabase) Driver() driver.Driver { return nil }

func newBroker(t *testing.T, d Dialect) *Broker {
	t.Helper()
	db := sql.OpenDB(noDatabase{})
	t.Cleanup(func() { db.Close() })
	b, err := New(db, d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func queueNamed(n int) events.Queue {
	return events.Queue{Topic: strconv.Itoa(n), Group: events.DefaultGroup}
}

func TestProducersAreNotRemembered(t *testing.T) {
	b := newBroker(t, Postgres)
	for n := range 20_000 {
		b.wake(t.Context(), []queueRow{{Queue: queueNamed(n), id: int64(n)}})
		b.heard(strconv.Itoa(n))
	}
	if n := len(b.wakes.queues) + len(b.wakes.ids); n != 0 {
		t.Errorf("%d queues remembered that are not handled here, want none", n)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if b.notes.pending != nil {
		t.Errorf("%d notifications pending, want none", len(b.notes.pending.queues))
	}
}

func TestConsumersThatLeftAreForgotten(t *testing.T) {
	var w wakes
	waiter, _ := w.enter(queueNamed(0))
	w.recognize(1, queueNamed(0))
	for n := range 20_000 {
		wake, _ := w.enter(queueNamed(n))
		w.recognize(int64(n+1), queueNamed(n))
		w.leave(queueNamed(n), wake)
	}
	if n := max(len(w.queues), len(w.ids)); n > remembered {
		t.Errorf("%d queues remembered, want at most %d", n, remembered)
	}
	w.wakeID(1)
	select {
	case <-waiter:
	default:
		t.Error("one who waits was forgotten")
	}
}

func TestWakesAreNotLost(t *testing.T) {
	q, other := queueNamed(1), queueNamed(2)
	for _, tt := range []struct {
		name string
		do   func(w *wakes)
		want bool // the next who waits is woken at once
	}{
		{"nothing happened", func(*wakes) {}, false},
		{"woken between claim and wait", func(w *wakes) { w.wake(q, false) }, true},
		{"told between claim and wait", func(w *wakes) { w.recognize(7, q); w.pass(q); w.wakeID(7) }, true},
		{"all woken", func(w *wakes) { w.wakeAll() }, true},
		{"told before its id was known", func(w *wakes) { w.wakeID(7); w.recognize(7, q) }, true},
		{"another queue", func(w *wakes) { w.know(other); w.wake(other, false); w.wakeID(9) }, false},
		{"noticed by one who waited", func(w *wakes) {
			wake, _ := w.enter(q)
			w.wake(q, false)
			<-wake
			w.leave(q, wake)
		}, false},
		{"not noticed by one who left", func(w *wakes) {
			wake, _ := w.enter(q)
			w.wake(q, false)
			w.leave(q, wake)
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w wakes
			w.know(q)
			tt.do(&w)
			if _, missed := w.enter(q); missed != tt.want {
				t.Errorf("woken at once = %v, want %v", missed, tt.want)
			}
		})
	}
}

// pass is a Wait that ends at once.
func (w *wakes) pass(q events.Queue) {
	wake, _ := w.enter(q)
	w.leave(q, wake)
}
