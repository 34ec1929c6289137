package sqlqueue

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"
)

// listening is the goroutine that listens, if there is a Listener.
type listening struct {
	mu      sync.Mutex
	cancel  context.CancelFunc
	ended   chan struct{} // closed when the goroutine has ended; nil if it never began
	stopped bool
	hears   bool
}

// startListening starts the goroutine if it is needed and does not run.
func (b *Broker) startListening() {
	l := &b.listening
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.listener == nil || l.stopped || l.ended != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel, l.ended = cancel, make(chan struct{})
	go func() {
		defer close(l.ended)
		b.listen(ctx)
	}()
}

// listen listens until ctx ends, and begins anew when the connection was lost.
func (b *Broker) listen(ctx context.Context) {
	for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 5*time.Second) {
		begin := time.Now()
		_ = b.listener.Listen(ctx, b.channel(), func() {
			b.setHears(true)
			b.wakes.wakeAll() // of what was told while nobody listened
		}, b.heard)
		b.setHears(false)
		b.wakes.wakeAll() // so that they poll
		if time.Since(begin) > time.Minute {
			wait = 50 * time.Millisecond
		}
		pause(ctx, wait)
	}
}

// heard wakes those who wait for the queues that a notification is about.
func (b *Broker) heard(payload string) {
	for text := range strings.FieldsSeq(payload) {
		if id, err := strconv.ParseInt(text, 10, 64); err == nil {
			b.wakes.wakeID(id)
		}
	}
}

func (b *Broker) setHears(hears bool) {
	b.listening.mu.Lock()
	defer b.listening.mu.Unlock()
	b.listening.hears = hears
}

// hears reports whether a Listener listens at this moment.
func (b *Broker) hears() bool {
	b.listening.mu.Lock()
	defer b.listening.mu.Unlock()
	return b.listening.hears
}

// stop ends the goroutine and waits for it.
func (l *listening) stop() {
	l.mu.Lock()
	l.stopped = true
	cancel, ended := l.cancel, l.ended
	l.mu.Unlock()
	if ended != nil {
		cancel()
		<-ended
	}
}
