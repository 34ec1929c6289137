package trial

import (
	"context"
	"time"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/soak/ledger"
	"github.com/fanfare-go/fanfare/internal/soak/load"
)

// consume handles both groups until ctx ends.
func (c *child) consume(ctx context.Context) error {
	defer c.stop()
	topic := fanfare.NewTopic[load.Payload](Topic)
	for number, name := range groups {
		handle := func(ctx context.Context, p load.Payload) error { return c.handle(ctx, number, p.Event) }
		for {
			_, err := topic.Register(ctx, c.d, handle, fanfare.Group(name))
			if err == nil {
				break
			}
			if !sleep(ctx, 50*time.Millisecond) { // the server is down
				return nil
			}
		}
	}
	<-ctx.Done()
	return nil
}

// handle does what the seed says, and writes it down.
func (c *child) handle(ctx context.Context, group int, e ledger.Event) error {
	info, _ := fanfare.DeliveryFrom(ctx)
	r := ledger.Record{Kind: ledger.Start, At: c.log.Now(), Event: e, Group: uint8(group), Count: uint8(min(255, info.Attempt))}
	if time.Now().Before(info.DueAt) {
		r.Value = ledger.Early
	}
	must(c.log.Write(r))
	turn := c.Load.Turn(e, group, info.Attempt)
	err := error(nil)
	if turn.Wait > 0 && !sleep(ctx, turn.Wait) {
		turn.Result, err = ledger.Canceled, ctx.Err()
	}
	r.Kind, r.At, r.Value = ledger.End, c.log.Now(), turn.Result
	must(c.log.Write(r))
	if err != nil {
		return err
	}
	return load.Return(turn.Result)
}
