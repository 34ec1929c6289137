package pgxlisten_test

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fanfare-go/fanfare/sqlqueue/pgxlisten"
)

func ExampleNew() {
	listener, err := pgxlisten.New("postgres://shop@db.example.org/shop")
	if err != nil {
		panic(err)
	}
	_ = listener // for sqlqueue.New(db, sqlqueue.Postgres, sqlqueue.WithListener(listener))
}

// The connection may be made in any way, here with a name that
// pg_stat_activity shows.
func ExampleListener() {
	config, err := pgx.ParseConfig("postgres://shop@db.example.org/shop")
	if err != nil {
		panic(err)
	}
	config.RuntimeParams["application_name"] = "shop events"
	listener := pgxlisten.Listener(func(ctx context.Context) (*pgx.Conn, error) {
		return pgx.ConnectConfig(ctx, config)
	})
	_ = listener // for sqlqueue.New(db, sqlqueue.Postgres, sqlqueue.WithListener(listener))
}

// What a queue does with a Listener: it waits for what others notify.
func ExampleListener_Listen() {
	listener, err := pgxlisten.New("postgres://nobody@127.0.0.1:1/none")
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = listener.Listen(ctx, "events", func() { fmt.Println("listening") }, func(payload string) { fmt.Println(payload) })
	fmt.Println(err != nil) // there is no server
	// Output: true
}
