package fanfare_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/alicebob/miniredis/v2"

	"github.com/fanfare-go/fanfare"
)

func ExampleNewRedisLocker() {
	server, err := miniredis.Run() // stands for a Redis server
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client, err := fanfare.DialRedis(server.Addr())
	if err != nil {
		panic(err)
	}
	defer client.Close()
	locker, err := fanfare.NewRedisLocker(client)
	if err != nil {
		panic(err)
	}

	report := func(ctx context.Context, day string) (err error) {
		lock, err := locker.TryAcquire(ctx, "report "+day)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, lock.Unlock(ctx)) }()

		work := lock.Context() // ends if the lock is lost
		_, busy := locker.TryAcquire(work, "report "+day)
		fmt.Println("locked for others:", errors.Is(busy, fanfare.ErrLocked))
		return nil
	}
	for range 2 {
		if err := report(context.Background(), "monday"); err != nil {
			panic(err)
		}
	}
	// Output:
	// locked for others: true
	// locked for others: true
}

func ExampleLock_fence() {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client, err := fanfare.DialRedis(server.Addr())
	if err != nil {
		panic(err)
	}
	defer client.Close()
	locker, err := fanfare.NewRedisLocker(client)
	if err != nil {
		panic(err)
	}

	// A store that refuses a writer that was overtaken while it was halted.
	var greatest int64
	write := func(fence int64, what string) {
		if fence < greatest {
			fmt.Println("refused:", what)
			return
		}
		greatest = fence
		fmt.Println("written:", what)
	}

	ctx := context.Background()
	old, err := locker.Acquire(ctx, "account 7")
	if err != nil {
		panic(err)
	}
	server.FlushAll() // the server crashes and forgets the lock
	lock, err := locker.Acquire(ctx, "account 7")
	if err != nil {
		panic(err)
	}
	write(lock.Fence(), "by the new holder")
	write(old.Fence(), "by the old holder")
	fmt.Println(lock.Unlock(ctx))
	fmt.Println(old.Unlock(ctx))
	// Output:
	// written: by the new holder
	// refused: by the old holder
	// <nil>
	// unlock account 7: lock lost
}
