package sqltest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// scene is what one verb meets once.
type scene struct {
	*testing.T
	b      *sqlqueue.Broker
	expire func() // lets all leases run out

	q        driver.Queue
	name     string
	held     []driver.Delivery
	tried    int
	got      []string // what do claimed
	canceled int      // how often do was told that it canceled
	lost     bool     // a call may have been carried out whose answer was lost
}

// verb is a call that is to happen once, though it is repeated.
type verb struct {
	name    string
	steps   bool // it may be done in part, which done looks at
	arrange func(s *scene)
	do      func(ctx context.Context, s *scene, b *sqlqueue.Broker) error
	done    func(s *scene) bool // fails the test if what is there is neither
}

func (s *scene) try(v verb, b *sqlqueue.Broker, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s.tried++
	err := v.do(ctx, s, b)
	s.lost = s.lost || errors.Is(err, driver.ErrUnknownOutcome)
	return err
}

// outcomes checks those of a call: of one that was repeated each may be refused,
// also where the broker itself repeated it.
func (s *scene) outcomes(errs []error, err, repeated error) error {
	for _, one := range errs {
		if errors.Is(one, driver.ErrUnknownOutcome) && errors.Is(one, driver.ErrDuplicate) {
			continue
		}
		if one != nil && (s.tried == 1 || repeated == nil || !errors.Is(one, repeated)) {
			s.Fatalf("%s: outcome %v of try %d", s.name, one, s.tried)
		}
	}
	return err
}

func (s *scene) subscribe(group string) {
	s.Helper()
	require.NoError(s, s.b.Subscribe(s.Context(), driver.Queue{Topic: s.q.Topic, Group: group}), s.name)
}

func (s *scene) push(msgs ...driver.Message) {
	s.Helper()
	outcomes, err := s.b.Push(s.Context(), s.q.Topic, msgs)
	require.NoError(s, errors.Join(append(outcomes, err)...), s.name)
}

// claim claims n messages for a minute.
func (s *scene) claim(n int) {
	s.Helper()
	s.held = nil
	behaviour.Eventually(s.T, func() bool { // it passes over what is locked for a moment
		c, err := s.b.Claim(s.Context(), s.q, driver.ClaimRequest{Limit: n, Lease: time.Minute})
		require.NoError(s, err, s.name)
		s.held = append(s.held, c.Deliveries...)
		return len(s.held) == n
	}, s.name)
}

// look returns a copy as a word or two: its state, attempts and failures.
func (s *scene) look(group, id string) string {
	s.Helper()
	r, err := s.b.Get(s.Context(), driver.Queue{Topic: s.q.Topic, Group: group}, id)
	if errors.Is(err, driver.ErrNotFound) {
		return "none"
	}
	require.NoError(s, err, s.name)
	return fmt.Sprintf("%s %d %d", r.State, r.Attempts, r.Failures)
}

// either reports whether the copies are as wanted afterwards, and fails unless
// they are so, or all as they were before.
func (s *scene) either(group string, ids, before, after []string) bool {
	s.Helper()
	var found []string
	for _, id := range ids {
		found = append(found, s.look(group, id))
	}
	switch strings.Join(found, ", ") {
	case strings.Join(after, ", "):
		return true
	case strings.Join(before, ", "):
		return false
	}
	s.Fatalf("%s: %q is %q, want all of %q or of %q", s.name, ids, found, before, after)
	return false
}

func (s *scene) receipts() []driver.Receipt {
	var all []driver.Receipt
	for _, d := range s.held {
		all = append(all, d.Receipt)
	}
	return all
}
