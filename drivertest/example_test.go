package drivertest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/drivertest"
)

// A backend's test file has a function such as this one.
func ExampleRun() {
	_ = func(t *testing.T) { // func TestBroker(t *testing.T)
		drivertest.Run(t, drivertest.Harness{
			New: func(t testing.TB, window time.Duration) driver.Broker {
				b := drivertest.NewMemory(drivertest.Window(window)) // the backend to test
				t.Cleanup(func() {
					if err := b.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				})
				return b
			},
			Slack: time.Second, // it runs in a container on a slow machine
		})
	}
}

func ExampleNewMemory() {
	ctx, m := context.Background(), drivertest.NewMemory(drivertest.Window(time.Hour))
	paid := driver.Queue{Topic: "order.paid", Group: driver.DefaultGroup}

	for range 2 {
		outcomes, err := m.Push(ctx, paid.Topic, []driver.Message{{ID: "7", Body: []byte("order 7")}})
		fmt.Println(outcomes, err)
	}
	claim, err := m.Claim(ctx, paid, driver.ClaimRequest{Limit: 10, Lease: time.Minute})
	if err != nil {
		panic(err)
	}
	for _, d := range claim.Deliveries {
		fmt.Printf("%s, attempt %d\n", d.Body, d.Attempt)
	}
	// Output:
	// [<nil>] <nil>
	// [memory: push "7" to "order.paid": duplicate event id] <nil>
	// order 7, attempt 1
}
