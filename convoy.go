package fanfare

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// convoyCalls is how many calls to a topic are under way before dispatches wait
// for one another: with one, two callers would be slower than without convoys.
const convoyCalls = 2

// What a convoy takes along, and after what time it no longer waits for a call to
// return.
const (
	convoyRiders   = 500
	convoyBytes    = 256 << 10
	convoyBody     = 16 << 10 // larger ones go alone
	convoyPatience = 10 * time.Millisecond
)

// convoys lets concurrent dispatches to a topic share calls of the backend. One
// that finds fewer than convoyCalls under way goes at once, in the goroutine of
// its caller. Those that come later go together, as soon as a call has returned
// or convoyPatience has passed.
type convoys struct {
	broker driver.Broker
	mu     sync.Mutex
	topics map[string]*convoyTopic // those with calls under way
}

// convoyTopic is what is under way to a topic, and what waits.
type convoyTopic struct {
	calls   int
	waiting []*convoy
}

// convoy is some messages that go to the backend in one call.
type convoy struct {
	riders []*convoyRider
	bytes  int
	aboard int  // riders that have not left
	gone   bool // it is under way
	hurry  *time.Timer
	call   context.Context // ends when the last rider has left
	cancel context.CancelFunc
	done   chan struct{} // closed when the riders have their outcomes
}

// convoyRider is one message of a convoy.
type convoyRider struct {
	msg  driver.Message
	left bool
	err  error
}

// Push stores messages as [driver.Broker] does.
func (c *convoys) Push(ctx context.Context, topic string, msgs []driver.Message) ([]error, error) {
	if len(msgs) != 1 || msgs[0].Conflict != driver.KeepFirst || len(msgs[0].Body) > convoyBody {
		return c.broker.Push(ctx, topic, msgs)
	}
	c.mu.Lock()
	t := c.topics[topic]
	if t == nil {
		if c.topics == nil {
			c.topics = map[string]*convoyTopic{}
		}
		t = &convoyTopic{}
		c.topics[topic] = t
	}
	if t.calls < convoyCalls {
		t.calls++
		c.mu.Unlock()
		defer c.returned(topic)
		return c.broker.Push(ctx, topic, msgs)
	}
	v, r := c.board(topic, t, msgs[0])
	c.mu.Unlock()
	select {
	case <-v.done:
		return []error{r.err}, nil
	case <-ctx.Done():
		return nil, c.leave(ctx, v, r)
	}
}

// board puts a message into the last convoy that waits, or a new one.
func (c *convoys) board(topic string, t *convoyTopic, msg driver.Message) (*convoy, *convoyRider) {
	var v *convoy
	if last := len(t.waiting) - 1; last >= 0 {
		v = t.waiting[last]
	}
	if v == nil || len(v.riders) == convoyRiders || v.bytes+len(msg.Body) > convoyBytes {
		v = &convoy{done: make(chan struct{})}
		v.call, v.cancel = context.WithCancel(context.Background())
		v.hurry = time.AfterFunc(convoyPatience, func() { c.overtake(topic, v) })
		t.waiting = append(t.waiting, v)
	}
	r := &convoyRider{msg: msg}
	v.riders = append(v.riders, r)
	v.bytes += len(msg.Body)
	v.aboard++
	return v, r
}

// leave is for a caller whose context has ended.
func (c *convoys) leave(ctx context.Context, v *convoy, r *convoyRider) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.left = true
	if v.aboard--; v.aboard == 0 && v.gone { // else others may still board it
		v.cancel()
	}
	if v.gone {
		return fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, context.Cause(ctx))
	}
	return fmt.Errorf("%w: not sent: %w", driver.ErrUnavailable, context.Cause(ctx))
}

// returned sends the next convoy when a call to a topic has returned.
func (c *convoys) returned(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[topic]
	t.calls--
	if len(t.waiting) > 0 {
		c.send(topic, t)
	}
	if t.calls == 0 {
		delete(c.topics, topic)
	}
}

// overtake sends a convoy, and those before it, though another call is under way.
func (c *convoys) overtake(topic string, v *convoy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !v.gone {
		c.send(topic, c.topics[topic])
	}
}

// send lets the first convoy go that waits. The caller holds mu.
func (c *convoys) send(topic string, t *convoyTopic) {
	v := t.waiting[0]
	t.waiting = t.waiting[1:]
	t.calls++
	v.gone = true
	v.hurry.Stop()
	var riders []*convoyRider
	var msgs []driver.Message
	for _, r := range v.riders {
		if !r.left {
			riders, msgs = append(riders, r), append(msgs, r.msg)
		}
	}
	go func() {
		defer c.returned(topic)
		v.deliver(c.broker, topic, riders, msgs)
	}()
}

// deliver makes the call. The riders wait for it, each as long as its context
// allows; when nobody does any more, the call is canceled.
func (v *convoy) deliver(broker driver.Broker, topic string, riders []*convoyRider, msgs []driver.Message) {
	defer v.cancel()
	arrive := func(outcomes []error, err error) {
		if err == nil && len(outcomes) != len(riders) {
			err = fmt.Errorf("%w: %d outcomes of %d messages", driver.ErrUnknownOutcome, len(outcomes), len(riders))
		}
		for i, r := range riders {
			if r.err = err; err == nil {
				r.err = outcomes[i]
			}
		}
		close(v.done)
	}
	if len(msgs) == 0 {
		return
	}
	var outcomes []error
	err := guard(func() (err error) {
		outcomes, err = broker.Push(v.call, topic, msgs)
		return err
	}, func(err error) { arrive(nil, err) })
	arrive(outcomes, err)
}
