package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

var orders = driver.Queue{Topic: "order.paid", Group: driver.DefaultGroup}

func push(t *testing.T, m *Memory, msgs ...driver.Message) {
	t.Helper()
	outcomes, err := m.Push(t.Context(), orders.Topic, msgs)
	if err := errors.Join(append(outcomes, err)...); err != nil {
		t.Fatalf("Push: %v", err)
	}
}

func claim(t *testing.T, m *Memory, limit int) driver.Claim {
	t.Helper()
	c, err := m.Claim(t.Context(), orders, driver.ClaimRequest{Limit: limit, Lease: time.Minute, Consumer: "a"})
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	return c
}

func TestMemoryWaitsHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, start := NewMemory(), time.Now()
		push(t, m, driver.Message{ID: "1", Delay: 3 * time.Hour})
		if c := claim(t, m, 1); len(c.Deliveries) != 0 || c.Next != 3*time.Hour {
			t.Errorf("Claim = %v, next in %v, want none, next in 3h", c.Deliveries, c.Next)
		}
		if err := m.Wait(t.Context(), orders, 24*time.Hour); err != nil {
			t.Fatalf("Wait: %v", err)
		}
		if d := time.Since(start); d != 3*time.Hour {
			t.Errorf("Wait returned after %v, want 3h", d)
		}
		if c := claim(t, m, 1); len(c.Deliveries) != 1 {
			t.Errorf("Claim = %v, want the message", c.Deliveries)
		}
	})
}

func TestMemoryWakesAtLeaseEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		push(t, m, driver.Message{ID: "1"})
		claim(t, m, 1)
		start := time.Now()
		if err := m.Wait(t.Context(), orders, time.Hour); err != nil {
			t.Fatalf("Wait: %v", err)
		}
		if d := time.Since(start); d != time.Minute {
			t.Errorf("Wait returned after %v, want the lease of 1m", d)
		}
	})
}

func TestMemoryWakesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, woke := NewMemory(), make(chan time.Time)
		go func() {
			if err := m.Wait(t.Context(), orders, time.Hour); err != nil {
				t.Errorf("Wait: %v", err)
			}
			woke <- time.Now()
		}()
		synctest.Wait()
		start := time.Now()
		push(t, m, driver.Message{ID: "1"})
		if d := (<-woke).Sub(start); d != 0 {
			t.Errorf("Wait returned %v after the push, want at once", d)
		}
	})
}

func TestMemoryForgetsAfterWindow(t *testing.T) {
	for _, tt := range []struct {
		m      *Memory
		window time.Duration
	}{{NewMemory(), time.Minute}, {NewMemory(Window(time.Hour)), time.Hour}} {
		synctest.Test(t, func(t *testing.T) {
			push(t, tt.m, driver.Message{ID: "1"})
			r := claim(t, tt.m, 1).Deliveries[0].Receipt
			if _, err := tt.m.Settle(t.Context(), orders, []driver.Settlement{{Receipt: r}}); err != nil {
				t.Fatalf("Settle: %v", err)
			}
			<-time.After(tt.window - 1)
			outcomes, err := tt.m.Push(t.Context(), orders.Topic, []driver.Message{{ID: "1"}})
			if err != nil || !errors.Is(outcomes[0], driver.ErrDuplicate) {
				t.Errorf("Push within the window = %v, %v, want ErrDuplicate", outcomes, err)
			}
			<-time.After(1)
			push(t, tt.m, driver.Message{ID: "1"})
		})
	}
}

func TestMemoryForgetsConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		claim(t, m, 1)
		for _, want := range []int{1, 0} {
			s, err := m.Status(t.Context(), orders.Topic)
			if err != nil || len(s) != 1 || s[0].Consumers != want {
				t.Errorf("Status = %+v, %v, want %d consumers", s, err, want)
			}
			<-time.After(time.Minute)
		}
	})
}

// One claim of ten and ten claims of one share the turns in the same way.
func TestMemoryWeighsPriorities(t *testing.T) {
	for _, limit := range []int{1, 3, 10, 100} {
		m := NewMemory()
		for i := range 300 {
			push(t, m, driver.Message{ID: fmt.Sprint(i), Priority: driver.Priority(i%3 - 1)})
		}
		count := map[driver.Priority]int{}
		for n := 0; n < 100; {
			for _, d := range claim(t, m, min(limit, 100-n)).Deliveries {
				count[d.Priority]++
				n++
			}
		}
		if count[driver.High] != 60 || count[driver.Normal] != 30 || count[driver.Low] != 10 {
			t.Errorf("limit %d: claimed %v, want 60 high, 30 normal, 10 low", limit, count)
		}
	}
}

func TestMemoryKeepsPushOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // all pushes at one instant
		m := NewMemory()
		var want, got []string
		for i := range 100 {
			want = append(want, fmt.Sprint(i))
			push(t, m, driver.Message{ID: want[i]})
		}
		for range 100 {
			got = append(got, claim(t, m, 1).Deliveries[0].ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("claimed %v, want the order of the pushes", got)
		}
	})
}

func TestMemoryClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, waited := NewMemory(), make(chan error)
		go func() { waited <- m.Wait(context.Background(), orders, time.Hour) }()
		synctest.Wait()
		if err := errors.Join(m.Close(), m.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-waited; !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("Wait = %v, want ErrUnavailable", err)
		}
		if _, err := m.Push(t.Context(), orders.Topic, nil); !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("Push = %v, want ErrUnavailable", err)
		}
		if _, err := m.Status(t.Context()); !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("Status = %v, want ErrUnavailable", err)
		}
	})
}

func TestMemoryNamesWhatFailed(t *testing.T) {
	m := NewMemory()
	push(t, m, driver.Message{ID: "1"})
	outcomes, err := m.Push(t.Context(), orders.Topic, []driver.Message{{ID: "1"}})
	if err != nil || !strings.Contains(fmt.Sprint(outcomes[0]), `"1" to "order.paid"`) {
		t.Errorf("Push = %v, %v, want the id and the topic in the outcome", outcomes, err)
	}
}

func TestMemoryRefusesWhatNoBrokerTakes(t *testing.T) {
	m := NewMemory()
	push(t, m, driver.Message{ID: "1"})
	r := claim(t, m, 1).Deliveries[0].Receipt
	settled, err := m.Settle(t.Context(), orders, []driver.Settlement{{Receipt: r, Verb: driver.Bury + 1}})
	refused := append(settled, err)
	pushed, err := m.Push(t.Context(), orders.Topic, []driver.Message{
		{ID: "2", Priority: driver.High + 1}, {ID: "2", Priority: driver.Low - 1}, {ID: "2", Conflict: driver.RunAgain + 1},
	})
	refused = append(append(refused, pushed...), err)
	_, err = m.Extend(t.Context(), orders, "a", 0, []driver.Receipt{r})
	refused = append(refused, err)
	_, err = m.Claim(t.Context(), orders, driver.ClaimRequest{Limit: 1})
	refused = append(refused, err)
	_, err = m.List(t.Context(), orders, "odd", 0, 1)
	refused = append(refused, err)
	want := []error{driver.ErrInvalid, nil, driver.ErrInvalid, driver.ErrInvalid, driver.ErrInvalid, nil,
		driver.ErrInvalid, driver.ErrInvalid, driver.ErrInvalid}
	if !slices.EqualFunc(refused, want, errors.Is) {
		t.Errorf("errors = %v, want %v", refused, want)
	}
}
