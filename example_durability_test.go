package fanfare_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/fanfare-go/fanfare"
)

func ExampleDurable_Durability() {
	server := miniredis.NewMiniRedis() // which does not tell; a real one does
	check(server.Start())
	defer server.Close()
	d, err := fanfare.OpenRedis(server.Addr())
	check(err)
	defer d.Stop(context.Background())

	found, err := d.Durability(context.Background())
	check(err)
	if found.Level < fanfare.DurabilitySeconds {
		fmt.Println(found.Level)
	}
	// Output: unknown
}

func ExampleRequireDurability() {
	server := miniredis.NewMiniRedis()
	check(server.Start())
	defer server.Close()
	d, err := fanfare.OpenRedis(server.Addr(), fanfare.RequireDurability(fanfare.DurabilitySynced))
	check(err)
	defer d.Stop(context.Background())

	err = OrderPaid.Dispatch(context.Background(), d, Order{ID: 7})
	fmt.Println(errors.Is(err, fanfare.ErrNotDurable))
	// Output: true
}

func ExampleWithReplicas() {
	server := miniredis.NewMiniRedis() // which has no replicas
	check(server.Start())
	defer server.Close()
	d, err := fanfare.OpenRedis(server.Addr(), fanfare.WithReplicas(1, 200*time.Millisecond))
	check(err)
	defer d.Stop(context.Background())

	err = OrderPaid.Dispatch(context.Background(), d, Order{ID: 7}, fanfare.ID("order:7"))
	fmt.Println(errors.Is(err, fanfare.ErrUnknownOutcome)) // dispatch it again, with the same id
	// Output: true
}
