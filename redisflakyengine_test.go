package fanfare

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// runs counts how often each event was handled.
type runs struct {
	mu   sync.Mutex
	of   map[string]int
	new  chan struct{}
	lost map[string]bool // events whose claim was to be ended by a call that failed
}

func (r *runs) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of[id]++
	select {
	case r.new <- struct{}{}:
	default:
	}
}

func (r *runs) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.of)
}

// watch plans as plan does, and notes the ids of claims whose end failed.
func (r *runs) watch(plan func(int, [][]any) redisFault) func(int, [][]any) redisFault {
	return func(n int, cmds [][]any) redisFault {
		fault := plan(n, cmds)
		if fault != unsent && fault != answerless {
			return fault
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, cmd := range cmds {
			if len(cmd) > 1 && (cmd[1] == settleScript.sha || cmd[1] == settleScript.source || cmd[1] == extendScript.sha) {
				for _, arg := range cmd[2:] {
					r.lost[fmt.Sprint(arg)] = true
				}
			}
		}
		return fault
	}
}

// Of 2,000 events none is lost and each is handled, though every seventh command
// fails or is late. One is handled again only if what ended its claim failed.
func TestRedisEngineOnAFlakyConnection(t *testing.T) {
	const events, perCall = 2000, 10
	r := &runs{of: map[string]int{}, new: make(chan struct{}, 1), lost: map[string]bool{}}
	flaky := &flakyClient{RedisClient: dialTest(t, testsvc.StartRedis(t).URL), plan: r.watch(nowAndThen(1))}
	d, err := NewRedis(flaky, WithLease(time.Second), WithTickerInterval(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = d.Stop(ctx) // it may be told that the last acks failed
	})
	topic := NewTopic[int]("flaky")
	insist(t, func(ctx context.Context) error {
		_, err := topic.Register(ctx, d, func(ctx context.Context, _ int) error {
			e, _ := DeliveryFrom(ctx)
			r.add(e.ID)
			return nil
		}, Concurrency(32))
		return err
	})
	var dispatching sync.WaitGroup
	for producer := range 4 {
		dispatching.Go(func() {
			for n := producer; n < events; n += 4 {
				insist(t, func(ctx context.Context) error {
					return topic.Dispatch(ctx, d, n, ID(fmt.Sprint("event ", n)))
				})
			}
		})
	}
	dispatching.Wait()
	late := time.After(60 * time.Second)
	for r.count() < events {
		select {
		case <-r.new:
		case <-late:
			t.Fatalf("%d of %d events were handled", r.count(), events)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	extra := 0
	for id, n := range r.of {
		extra += n - 1
		if n > 1 && !r.lost[id] {
			t.Errorf("%q was handled %d times, though no call that ended its claim failed", id, n)
		}
	}
	t.Logf("%d events, %d commands, %d extra runs", len(r.of), flaky.sent(), extra)
}

// insist repeats a call until it succeeds, or finds that it did before.
func insist(t *testing.T, call func(context.Context) error) {
	for range 50 {
		err := call(t.Context())
		if err == nil || errors.Is(err, ErrDuplicate) {
			return
		}
	}
	t.Error("failed 50 times")
}
