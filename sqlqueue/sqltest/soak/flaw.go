package main

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// The flaws that a broker can have. An audit that finds nothing with them proves
// nothing without.
const (
	dropped   = "drop"   // one accepted event in a thousand is not stored
	forgetful = "forget" // ids that ended are not remembered
)

var flaws = []string{dropped, forgetful}

func broken(b *sqlqueue.Broker, flaw string) driver.Broker {
	if flaw == "" {
		return b
	}
	return brokenBroker{b, flaw}
}

// brokenBroker pushes as a broker must not.
type brokenBroker struct {
	*sqlqueue.Broker
	flaw string
}

// Push implements driver.Broker.
func (b brokenBroker) Push(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
	msgs = slices.Clone(msgs)
	if b.flaw == forgetful {
		for i := range msgs {
			msgs[i].Conflict = driver.RunAgain // for which an id that ended is free
		}
		return b.Broker.Push(ctx, topic, msgs)
	}
	lost := rand.IntN(1000 / min(len(msgs), 1000))
	if lost >= len(msgs) || lost > 0 && len(msgs) == 1 {
		return b.Broker.Push(ctx, topic, msgs)
	}
	outcomes := make([]error, 1)
	if len(msgs) > 1 {
		var err error
		if outcomes, err = b.Broker.Push(ctx, topic, slices.Delete(msgs, lost, lost+1)); err != nil {
			return nil, err
		}
		outcomes = slices.Insert(outcomes, lost, nil)
	}
	return outcomes, nil
}
