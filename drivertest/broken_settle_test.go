package drivertest

import (
	"context"
	"slices"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// settling breaks a broker by what it does before each settlement.
func settling(change func(b *broken, q *queue, s *driver.Settlement)) func(b *broken) {
	return func(b *broken) {
		b.onSettle = func(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error) {
			s = slices.Clone(s)
			b.edit(q, func(q *queue) {
				q.advance(time.Now())
				for i := range s {
					change(b, q, &s[i])
				}
			})
			return b.Memory.Settle(ctx, q, s)
		}
	}
}

// settled breaks a broker by what it does to a message after a settlement.
func settled(change func(m *message, q *queue, s driver.Settlement)) func(b *broken) {
	return func(b *broken) {
		b.onSettle = func(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error) {
			outcomes, err := b.Memory.Settle(ctx, q, s)
			b.edit(q, func(q *queue) {
				for i, one := range s {
					if m := q.live[one.ID]; m != nil && outcomes[i] == nil {
						change(m, q, one)
					}
				}
			})
			return outcomes, err
		}
	}
}

// tokenless breaks a broker by letting a verb end a claim without its token.
func tokenless(v driver.Verb) func(b *broken) {
	return settling(func(_ *broken, q *queue, s *driver.Settlement) {
		if m := q.live[s.ID]; m != nil && s.Verb == v {
			s.Token = m.token
		}
	})
}

var settleDefects = []defect{
	{"ack ignores the token", "stale/a stale token cannot ack", tokenless(driver.Ack)},
	{"retry ignores the token", "stale/a stale token cannot retry", tokenless(driver.Retry)},
	{"release ignores the token", "stale/a stale token cannot release", tokenless(driver.Release)},
	{"bury ignores the token", "stale/a stale token cannot bury", tokenless(driver.Bury)},
	{"ack without a claim", "stale/a token without its message changes nothing",
		settling(func(_ *broken, q *queue, s *driver.Settlement) {
			if m := q.live[s.ID]; m != nil && m.waits() && s.Verb == driver.Ack {
				q.drop(m)
			}
		})},
	{"a stale token is said to be settled", "stale/a stale token cannot ack", func(b *broken) {
		b.onSettle = func(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error) {
			_, err := b.Memory.Settle(ctx, q, s)
			return make([]error, len(s)), err
		}
	}},
	{"retry loses the message", "settle/retry lets it wait and counts a failure",
		settled(func(m *message, q *queue, s driver.Settlement) {
			if s.Verb == driver.Retry {
				q.drop(m)
			}
		})},
	{"retry does not count", "settle/retry lets it wait and counts a failure",
		settled(func(m *message, _ *queue, s driver.Settlement) {
			if s.Verb == driver.Retry {
				m.failures = 0
			}
		})},
	{"retry ignores the delay", "settle/retry is not early", settling(func(_ *broken, _ *queue, s *driver.Settlement) {
		s.Delay = 0
	})},
	{"retry ignores the instant", "settle/retry waits until its instant", settling(func(_ *broken, _ *queue, s *driver.Settlement) {
		s.At = time.Time{}
	})},
	{"retry ignores the delay beside an instant", "settle/of the delay and the instant of a retry the later counts",
		settling(func(_ *broken, _ *queue, s *driver.Settlement) {
			if !s.At.IsZero() {
				s.Delay = 0
			}
		})},
	{"retry loses the body", "settle/retry lets it wait and counts a failure",
		settled(func(m *message, _ *queue, _ driver.Settlement) { m.body = nil })},
	{"retry loses the priority", "settle/priority and body outlive a retry",
		settling(func(_ *broken, q *queue, s *driver.Settlement) {
			if m := q.live[s.ID]; m != nil && m.state == driver.Running {
				m.priority = driver.Normal
			}
		})},
	{"retry keeps no error", "inspect/a message that waits for its retry is shown with its failure",
		settling(func(_ *broken, _ *queue, s *driver.Settlement) { s.Error = "" })},
	{"release counts the attempt", "settle/release does not count the attempt",
		settled(func(m *message, _ *queue, s driver.Settlement) {
			if s.Verb == driver.Release {
				m.attempts++
			}
		})},
	{"release is a retry", "settle/release does not count the attempt", settling(func(_ *broken, _ *queue, s *driver.Settlement) {
		if s.Verb == driver.Release {
			s.Verb = driver.Retry
		}
	})},
	{"release ignores the delay", "settle/release is due after its delay", settling(func(_ *broken, _ *queue, s *driver.Settlement) {
		if s.Verb == driver.Release {
			s.Delay = 0
		}
	})},
	{"a repeated ack is lost", "settle/a settlement that is repeated is settled",
		settling(func(_ *broken, q *queue, s *driver.Settlement) {
			if s.Verb == driver.Ack {
				q.ended.forget(s.ID)
			}
		})},
	{"a repeated retry is lost", "settle/a settlement that is repeated is settled",
		settled(func(m *message, _ *queue, _ driver.Settlement) { m.ended = "" })},
	{"a repeated retry counts again", "settle/a settlement that is repeated is settled",
		settling(func(_ *broken, q *queue, s *driver.Settlement) {
			if m := q.live[s.ID]; m != nil && m.ended == s.Token && s.Verb == driver.Retry {
				m.failures++
			}
		})},
	{"an ended claim is ended in another way", "settle/a claim that was ended cannot be ended in another way",
		settling(func(_ *broken, q *queue, s *driver.Settlement) {
			if m := q.live[s.ID]; m != nil && m.ended == s.Token && s.Verb == driver.Ack {
				q.drop(m)
			}
		})},
	{"one lost claim loses the batch", "settle/each settlement has its own outcome", func(b *broken) {
		b.onSettle = func(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error) {
			outcomes, err := b.Memory.Settle(ctx, q, s)
			for _, one := range outcomes {
				if one != nil {
					return slices.Repeat([]error{one}, len(s)), err
				}
			}
			return outcomes, err
		}
	}},
	{"settle has one outcome for a batch", "settle/each settlement has its own outcome", func(b *broken) {
		b.onSettle = func(ctx context.Context, q driver.Queue, s []driver.Settlement) ([]error, error) {
			outcomes, err := b.Memory.Settle(ctx, q, s)
			return outcomes[:min(len(outcomes), 1)], err
		}
	}},
	{"bury is an ack", "dead/a buried message is a dead letter", settling(func(_ *broken, _ *queue, s *driver.Settlement) {
		if s.Verb == driver.Bury {
			s.Verb = driver.Ack
		}
	})},
	{"a dead letter has no error", "dead/a buried message is a dead letter", settling(func(_ *broken, _ *queue, s *driver.Settlement) {
		s.Error = ""
	})},
	{"a dead letter has no reason", "inspect/a dead message is shown with its reason",
		settling(func(_ *broken, _ *queue, s *driver.Settlement) { s.Reason = "" })},
	{"the first dead letter stays", "window/a dead letter gives way to a later one of its id",
		settling(func(_ *broken, q *queue, s *driver.Settlement) {
			if s.Verb == driver.Bury && q.dead[s.ID] != nil {
				s.Verb = driver.Ack
			}
		})},
}
