package fanfare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

var errCut = errors.New("connection cut")

// cutClient loses commands, or their answers.
type cutClient struct {
	RedisClient
	before, after int // how many of the next commands are lost, and of their answers
}

func (c *cutClient) Do(ctx context.Context, args ...any) (any, error) {
	if c.before > 0 {
		c.before--
		return nil, errCut
	}
	reply, err := c.RedisClient.Do(ctx, args...)
	if c.after > 0 {
		c.after--
		return nil, errCut
	}
	return reply, err
}

func newCutCase(t *testing.T) (*redisCase, *cutClient) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.push(message("warm")) // scripts and groups are known
	c.push(driver.Message{ID: "warm2", Conflict: driver.RunAgain})
	c.ack(c.claim(2)...)
	cut := &cutClient{RedisClient: c.client}
	c.client = cut
	return c, cut
}

func TestRedisPushWhoseAnswerIsLostIsRepeated(t *testing.T) {
	for _, mode := range []driver.Conflict{driver.KeepFirst, driver.Replace, driver.PushBack, driver.RunAgain} {
		for _, lost := range []cutClient{{before: 1}, {after: 1}} {
			c, cut := newCutCase(t)
			cut.before, cut.after = lost.before, lost.after
			a := message("a")
			a.Conflict = mode
			c.push(a)
			if got := ids(c.claim(10)); !slices.Equal(got, []string{"a"}) {
				t.Errorf("conflict %d: claimed %v, want a once", mode, got)
			}
		}
	}
}

func TestRedisPushDoesNotTakeAnotherMessageForItsOwn(t *testing.T) {
	c, cut := newCutCase(t)
	c.push(message("a"))
	cut.after = 1
	if err := c.outcomes(driver.Message{ID: "a", Body: []byte("another")})[0]; !errors.Is(err, driver.ErrDuplicate) {
		t.Errorf("repeated Push of a known id with another body = %v, want ErrDuplicate", err)
	}
	if err := c.outcomes(message("a"))[0]; !errors.Is(err, driver.ErrDuplicate) {
		t.Errorf("Push of a known id = %v, want ErrDuplicate", err)
	}
}

func TestRedisPushOfADigit(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	c.push(driver.Message{ID: "a", At: time.Now().Add(time.Hour), Body: []byte("0")})
	if ds := c.claim(1); len(ds) > 0 {
		t.Errorf("claimed %v an hour early", ids(ds))
	}
}

// What is repeated because its answer was lost may have been claimed, or even
// ended, by then.
func TestRedisRepeatedPushOfWhatRunsOrEnded(t *testing.T) {
	c, cut := newCutCase(t)
	c.push(message("a"))
	running := c.claim(1)
	cut.after = 1
	c.push(message("a"))
	if again := c.claim(10); len(again) > 0 {
		t.Errorf("claimed %v, which runs", ids(again))
	}
	c.ack(running...)
	if err := c.outcomes(message("a"))[0]; !errors.Is(err, driver.ErrDuplicate) || errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("Push of an id that ended = %v, want ErrDuplicate alone", err)
	}
	cut.after = 1
	if err := c.outcomes(message("a"))[0]; !errors.Is(err, driver.ErrDuplicate) || !errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("repeated Push of an id that ended = %v, want ErrDuplicate and ErrUnknownOutcome", err)
	}
}

// A body that is the same as that of a message which runs leaves open whether that
// is the one at hand. If so, that is the answer, and to repeat it is safe.
func TestRedisRunAgainIsNotLostWithItsAnswer(t *testing.T) {
	for _, lost := range []cutClient{{before: 1}, {after: 1}} {
		c, cut := newCutCase(t)
		again := message("a")
		again.Conflict = driver.RunAgain
		c.push(again)
		running := c.claim(1)[0]
		cut.before, cut.after = lost.before, lost.after
		if err := c.outcomes(again)[0]; errors.Is(err, driver.ErrUnknownOutcome) {
			c.push(again)
		} else if err != nil {
			t.Error(err)
		}
		c.ack(running)
		if got := ids(c.claim(10)); !slices.Equal(got, []string{"a"}) {
			t.Errorf("claimed %v after a lost answer, want a again", got)
		}
	}
}

func TestRedisPushThatStaysUnanswered(t *testing.T) {
	c, cut := newCutCase(t)
	cut.after = 2
	_, err := c.Push(t.Context(), c.q.Topic, []driver.Message{message("a")})
	if !errors.Is(err, driver.ErrUnknownOutcome) || errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("Push without answers = %v, want ErrUnknownOutcome alone", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Push(ctx, c.q.Topic, []driver.Message{message("b")})
	if !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("Push that was not sent = %v, want ErrUnavailable", err)
	}
}

func TestRedisPushOfManyReportsTheStepThatFailed(t *testing.T) {
	c, cut := newCutCase(t)
	var msgs []driver.Message
	for i := range 2 * redisBatch {
		msgs = append(msgs, driver.Message{ID: fmt.Sprint(i)})
	}
	msgs = append(msgs, driver.Message{ID: "other", Conflict: driver.Replace})
	c.client = &failAfter{cut, 1}
	outcomes := c.outcomes(msgs...)
	for i, want := range map[int]error{
		0: nil, redisBatch - 1: nil,
		redisBatch: driver.ErrUnknownOutcome, 2*redisBatch - 1: driver.ErrUnknownOutcome,
		2 * redisBatch: driver.ErrUnavailable,
	} {
		if !errors.Is(outcomes[i], want) {
			t.Errorf("outcome %d = %v, want %v", i, outcomes[i], want)
		}
	}
}

// failAfter lets n commands through, and loses all later ones.
type failAfter struct {
	RedisClient
	n int
}

func (f *failAfter) Do(ctx context.Context, args ...any) (any, error) {
	if f.n == 0 {
		return nil, errCut
	}
	f.n--
	return f.RedisClient.Do(ctx, args...)
}

func TestRedisSettleMayBeRepeated(t *testing.T) {
	for _, verb := range []driver.Verb{driver.Ack, driver.Retry, driver.Release, driver.Bury} {
		c, cut := newCutCase(t)
		c.push(message("a"))
		s := []driver.Settlement{{Receipt: c.claim(1)[0].Receipt, Verb: verb, Delay: time.Hour}}
		cut.after = 1
		if _, err := c.Settle(t.Context(), c.q, s); !errors.Is(err, driver.ErrUnknownOutcome) {
			t.Errorf("verb %d: Settle without an answer = %v, want ErrUnknownOutcome", verb, err)
		}
		if outcomes, err := c.Settle(t.Context(), c.q, s); err != nil || outcomes[0] != nil {
			t.Errorf("verb %d: repeated Settle = %v, %v, want it settled", verb, outcomes, err)
		}
	}
}

// Replicas are waited for once, also where too few confirm: then to push again at
// once would not help.
func TestRedisReplicasCostOneCommand(t *testing.T) {
	c := newCase(t, testsvc.StartRedis(t).URL)
	c.push(message("first"))
	c.replicas, c.patience = 1, time.Millisecond
	counts := c.counting(func() {
		_, err := c.Push(t.Context(), c.q.Topic, []driver.Message{message("a"), message("b")})
		if !errors.Is(err, driver.ErrUnknownOutcome) || errors.Is(err, driver.ErrDuplicate) {
			t.Errorf("Push without replicas = %v, want ErrUnknownOutcome alone", err)
		}
	})
	if counts["evalsha"] != 1 || counts["wait"] != 1 {
		t.Errorf("Push runs the commands %v, want one evalsha and one wait", counts)
	}
}

// Two dispatches of one id within a millisecond are two, also where the answer to
// the second is lost and its message is as good as that of the first.
func TestRedisDispatchTellsARepeatFromASecondDispatch(t *testing.T) {
	c, cut := newCutCase(t)
	d, err := New(c.redisBroker)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		id := ID(fmt.Sprint("twice", n))
		if err := d.Dispatch(t.Context(), c.q.Topic, With(1, id)); err != nil {
			t.Fatal(err)
		}
		cut.after = 1
		if err := d.Dispatch(t.Context(), c.q.Topic, With(1, id)); !errors.Is(err, ErrDuplicate) {
			t.Fatalf("second dispatch of an id = %v, want ErrDuplicate", err)
		}
	}
}
