package fanfare

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// maxClaim bounds what one call claims, so that no claim takes long.
const maxClaim = 100

// maxUnsettled bounds how many results may wait for the backend before the
// consumer claims no more.
const maxUnsettled = 1000

// consumer runs one handler for the events of one queue. Its goroutines are the
// fetcher, which claims events and lets handlers run for them; the settler, which
// reports results in batches; and the keeper, which renews leases. They end in
// this order.
type consumer struct {
	d       *Durable
	queue   driver.Queue
	handler Handler
	cfg     handlerConfig

	quit     context.Context // ends when no more is to be claimed
	leave    context.CancelFunc
	work     context.Context // of the handlers
	abandon  context.CancelCauseFunc
	settling context.Context // ends when the backend is no longer waited for
	giveUp   context.CancelFunc
	done     chan struct{} // closed when all has ended

	settler settler
	careful bool          // the latest claim met a suspect; the fetcher's
	moved   chan struct{} // of capacity 1: there may be room for more

	mu        sync.Mutex
	held      map[*lease]struct{}
	expiry    expiry
	running   int      // goroutines that handle events
	ahead     []*lease // claimed, for the goroutine that is free next
	pace      pace
	idle      chan struct{} // closed when it has left and nothing runs
	left      bool
	abandoned bool
	released  int
}

func newConsumer(d *Durable, q driver.Queue, h Handler, cfg handlerConfig) *consumer {
	c := &consumer{
		d: d, queue: q, handler: h, cfg: cfg,
		moved: make(chan struct{}, 1),
		held:  map[*lease]struct{}{},
		pace:  pace{since: time.Now()},
		idle:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	c.settler = settler{wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	c.quit, c.leave = context.WithCancel(context.Background())
	c.work, c.abandon = context.WithCancelCause(context.WithoutCancel(d.ctx))
	c.settling, c.giveUp = context.WithCancel(context.Background())
	return c
}

// start starts the goroutines; done is closed when they have ended.
func (c *consumer) start() {
	go func() {
		defer c.ended()
		defer c.d.weather.forget(call{c.queue, "claim"}, call{c.queue, "settle"})
		keeper, stopKeeper := context.WithCancel(context.Background())
		var keeping, settling sync.WaitGroup
		keeping.Go(func() { c.keepLeases(keeper) })
		settling.Go(c.settle)
		c.fetch()
		c.releaseAhead()
		c.setLeft()
		<-c.idle
		c.settler.close()
		settling.Wait()
		stopKeeper()
		keeping.Wait()
		c.abandon(ErrStopped) // frees what the contexts hold
		c.giveUp()
	}()
}

// ended takes the consumer out of the books.
func (c *consumer) ended() {
	c.d.leavePlace(c)
	c.d.mu.Lock()
	delete(c.d.living, c)
	c.d.mu.Unlock()
	close(c.done)
}

// fetch claims events whenever there is room for them, until the consumer is to leave.
func (c *consumer) fetch() {
	var claiming, waiting retryPause
	for {
		_ = c.d.requireDurability(c.quit) // for the log: what is there is handled anyway
		n := c.waitForRoom()
		if n == 0 {
			return
		}
		next, err := c.claim(n)
		c.d.weather.report(call{c.queue, "claim"}, err)
		if err != nil {
			claiming.wait(c.quit)
			continue
		}
		claiming.reset()
		until := time.Now().Add(next)
		// Who waits without a free handler is woken in the place of one who has one.
		if next == 0 || !c.waitUntil(c.quit, func() bool { return c.running < c.cfg.concurrency }) {
			continue
		}
		if next = time.Until(until); next <= 0 {
			continue
		}
		if c.gathers() {
			waitAtMost(c.quit.Done(), min(next, gather))
			continue
		}
		// A Wait that fails says nothing that the next claim will not.
		if err := c.d.broker.Wait(c.quit, c.queue, next); err != nil {
			waiting.wait(c.quit)
			continue
		}
		waiting.reset()
	}
}

// claim claims up to n events and lets their handlers run. It returns how long
// there will be nothing to claim, at most.
func (c *consumer) claim(n int) (time.Duration, error) {
	// Not c.quit: what is claimed by a call that is cut off stays away until
	// its lease ends. Only a Stop that is out of patience does that.
	ctx, cancel := context.WithTimeout(c.settling, callTimeout)
	defer cancel()
	before := time.Now()
	claim, err := c.d.broker.Claim(ctx, c.queue, driver.ClaimRequest{
		Limit: n, Lease: c.cfg.lease, AtMostOnce: c.cfg.atMostOnce, Consumer: c.d.name,
	})
	if err != nil {
		return 0, err
	}
	if !c.cfg.atMostOnce && time.Since(before) >= trust(c.cfg.lease) {
		c.giveBack(claim.Deliveries) // the answer came too late to rely on
		return 0, nil
	}
	var suspects []driver.Delivery
	leases := make([]*lease, 0, len(claim.Deliveries))
	for _, d := range claim.Deliveries {
		if isSuspect(d) && !c.cfg.atMostOnce { // nor would giving back be possible
			suspects = append(suspects, d)
			continue
		}
		leases = append(leases, newLease(d, claim.Now, before.Add(trust(c.cfg.lease))))
	}
	c.begin(leases...)
	if c.careful = len(suspects) > 0; c.careful {
		l := newLease(suspects[0], claim.Now, before.Add(trust(c.cfg.lease)))
		c.runAlone(l, suspects[1:])
		return 0, nil
	}
	if longest := c.longestSleep(); claim.Next < 0 || claim.Next > longest {
		return longest, nil
	}
	return claim.Next, nil
}

// longestSleep is how long the consumer may not look at its queue: not so long
// that a lease which another process takes meanwhile, and does not live to keep,
// is found out later than promised.
func (c *consumer) longestSleep() time.Duration {
	return min(c.d.interval, c.cfg.lease+800*time.Millisecond)
}

// callTimeout bounds calls to the backend that no caller bounds.
const callTimeout = 5 * time.Second

func (c *consumer) setLeft() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	c.closeIfIdle()
}

// closeIfIdle is called with mu held.
func (c *consumer) closeIfIdle() {
	if c.left && (c.running == 0 || c.abandoned) {
		select {
		case <-c.idle:
		default:
			close(c.idle)
		}
	}
}

// remove ends the consumer for Remove. It does not disturb handlers that run, and does
// not wait for the one that called it.
func (c *consumer) remove(ctx context.Context) error {
	c.mu.Lock()
	again := c.quit.Err() != nil
	c.leave()
	c.mu.Unlock()
	if again {
		return ErrNoHandlerFound
	}
	c.d.leavePlace(c)
	if h, ok := handlingFrom(ctx); ok && h.c == c {
		return nil
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// How long after the end of its context a Stop waits for handlers that return
// because their contexts ended, and for the backend to take events back.
const (
	returnGrace  = 30 * time.Millisecond
	releaseGrace = 70 * time.Millisecond
)

// stop leaves, waits for handlers until ctx ends, and gives back what they have
// not finished by then.
func (c *consumer) stop(ctx context.Context) StopError {
	c.leave()
	select {
	case <-c.done:
		return StopError{Released: c.countReleased()}
	case <-ctx.Done():
	}
	c.abandon(ErrStopped)
	waitAtMost(c.idle, returnGrace)
	running := c.abandonHeld()
	if !waitAtMost(c.done, releaseGrace) {
		c.giveUp()
		waitAtMost(c.done, returnGrace) // a backend that ignores its context is not waited for
	}
	return StopError{Running: running, Released: c.countReleased(), Err: context.Cause(ctx)}
}

// abandonHeld releases the events of handlers that do not return, but for those
// that a transaction decides about.
func (c *consumer) abandonHeld() int {
	c.mu.Lock()
	c.abandoned = true
	running := c.running
	open := make([]*lease, 0, len(c.held))
	for l := range c.held {
		if !l.inTx {
			open = append(open, l)
		}
	}
	c.mu.Unlock()
	for _, l := range open {
		c.release(l)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeIfIdle()
	return running
}

func (c *consumer) countReleased() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.released
}

// waitAtMost reports whether ch was closed within d.
func waitAtMost(ch <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ch:
		return true
	case <-t.C:
		return false
	}
}

// retryPause is the growing pause between calls that fail: 50ms at first, up to
// the limit most, or 1s without one, each shortened by up to half at random.
type retryPause struct{ last, most time.Duration }

func (p *retryPause) reset() { p.last = 0 }

func (p *retryPause) wait(ctx context.Context) {
	p.last = min(max(2*p.last, 50*time.Millisecond), time.Second)
	if p.most > 0 {
		p.last = min(p.last, p.most)
	}
	t := time.NewTimer(p.last - rand.N(p.last/2))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
