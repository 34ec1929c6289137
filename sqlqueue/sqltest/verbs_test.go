package sqltest

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

var abc = []string{"a", "b", "c"}

func messages(ids ...string) []driver.Message {
	var all []driver.Message
	for _, id := range ids {
		all = append(all, driver.Message{ID: id, Body: []byte(id)})
	}
	return all
}

func times(n int, s string) []string { return slices.Repeat([]string{s}, n) }

// verbs are all that a broker can do.
var verbs = []verb{
	{
		name: "push",
		arrange: func(s *scene) {
			s.subscribe("g")
			s.subscribe("h")
		},
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			outcomes, err := b.Push(ctx, s.q.Topic, messages(abc...))
			return s.outcomes(outcomes, err, driver.ErrDuplicate)
		},
		done: func(s *scene) bool {
			g := s.either("g", abc, times(3, "none"), times(3, "ready 0 0"))
			h := s.either("h", abc, times(3, "none"), times(3, "ready 0 0"))
			require.Equal(s, g, h, s.name)
			return g
		},
	},
	{
		name:    "push to a group that is known to be alone",
		arrange: func(s *scene) { s.subscribe("g") },
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			outcomes, err := b.Push(ctx, s.q.Topic, messages("first"))
			if err := s.outcomes(outcomes, err, driver.ErrDuplicate); err != nil {
				return err
			}
			outcomes, err = b.Push(ctx, s.q.Topic, messages(abc...))
			return s.outcomes(outcomes, err, driver.ErrDuplicate)
		},
		done: func(s *scene) bool { return s.either("g", abc, times(3, "none"), times(3, "ready 0 0")) },
	},
	{
		name:  "settle with acks alone",
		steps: true,
		arrange: func(s *scene) {
			s.subscribe("g")
			s.push(messages(abc...)...)
			s.claim(3)
		},
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			var all []driver.Settlement
			for _, r := range s.receipts() {
				all = append(all, driver.Settlement{Receipt: r})
			}
			outcomes, err := b.Settle(ctx, s.q, all)
			return s.outcomes(outcomes, err, nil)
		},
		done: func(s *scene) bool { return s.either("g", abc, times(3, "running 1 0"), times(3, "none")) },
	},
	{
		name:    "push of what ended",
		arrange: func(s *scene) { s.pushEnded() },
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			msgs := messages(abc...)
			for i := range msgs {
				msgs[i].Conflict = driver.Replace
			}
			outcomes, err := b.Push(ctx, s.q.Topic, msgs)
			return s.outcomes(outcomes, err, nil)
		},
		done: func(s *scene) bool { return s.either("g", abc, times(3, "none"), times(3, "ready 0 0")) },
	},
	{
		name: "push to run again",
		arrange: func(s *scene) {
			s.subscribe("g")
			s.push(messages("a")...)
			s.claim(1)
		},
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			outcomes, err := b.Push(ctx, s.q.Topic, []driver.Message{{ID: "a", Conflict: driver.RunAgain}})
			return s.outcomes(outcomes, err, driver.ErrDuplicate)
		},
		done: func(s *scene) bool { // a second one is refused if there is one
			outcomes, err := s.b.Push(s.Context(), s.q.Topic, []driver.Message{{ID: "a", Conflict: driver.RunAgain}})
			require.NoError(s, err)
			if outcomes[0] != nil {
				return true
			}
			_, err = s.b.Cancel(s.Context(), s.q.Topic, "a") // takes it back
			require.NoError(s, err)
			return false
		},
	},
	{
		name:  "claim",
		steps: true,
		arrange: func(s *scene) {
			s.subscribe("g")
			s.push(driver.Message{ID: "a", Priority: driver.High}, driver.Message{ID: "b", Body: bytes.Repeat([]byte("x"), 9000)})
			s.push(driver.Message{ID: "c", Priority: driver.Low})
		},
		do:   claimAll(false),
		done: claimed("ready 0 0", "running 1 0"),
	},
	{
		name:  "claim of leases that ran out",
		steps: true,
		arrange: func(s *scene) {
			s.subscribe("g")
			s.push(messages(abc...)...)
			s.claim(3)
			s.expire()
		},
		do:   claimAll(false),
		done: claimed("ready 1 0", "running 2 0"),
	},
	{
		name:  "claim at most once",
		steps: true,
		arrange: func(s *scene) {
			s.subscribe("g")
			s.push(messages(abc...)...)
		},
		do:   claimAll(true),
		done: claimed("ready 0 0", "none"),
	},
	{
		name: "settle",
		arrange: func(s *scene) {
			s.subscribe("g")
			s.push(messages("acked", "again", "buried", "released", "retried")...)
			s.claim(5)
			s.push(driver.Message{ID: "again", Conflict: driver.RunAgain})
		},
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			verbs := map[string]driver.Verb{"buried": driver.Bury, "released": driver.Release, "retried": driver.Retry}
			var all []driver.Settlement
			for _, r := range s.receipts() {
				all = append(all, driver.Settlement{Receipt: r, Verb: verbs[r.ID], Error: "text", Delay: time.Hour})
			}
			outcomes, err := b.Settle(ctx, s.q, all)
			return s.outcomes(outcomes, err, nil)
		},
		done: func(s *scene) bool {
			return s.either("g", []string{"acked", "again", "buried", "released", "retried"}, times(5, "running 1 0"),
				[]string{"none", "ready 0 0", "dead 1 1", "delayed 0 0", "delayed 1 1"})
		},
	},
	{
		name: "extend",
		arrange: func(s *scene) {
			s.subscribe("g")
			s.push(messages(abc...)...)
			s.claim(3)
		},
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			lost, err := b.Extend(ctx, s.q, "consumer of "+s.name, time.Hour, s.receipts())
			require.NotContains(s, lost, true, s.name)
			return err
		},
		done: func(s *scene) bool {
			extended := 0
			for _, id := range abc {
				r, err := s.b.Get(s.Context(), s.q, id)
				require.NoError(s, err, s.name)
				require.Equal(s, driver.Running, r.State, s.name)
				if time.Until(r.Time) > 30*time.Minute {
					extended++
				}
			}
			require.Contains(s, []int{0, 3}, extended, s.name)
			return extended == 3
		},
	},
	{
		name: "cancel",
		arrange: func(s *scene) {
			s.subscribe("g")
			s.subscribe("h")
			s.push(messages("a")...)
		},
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			ok, err := b.Cancel(ctx, s.q.Topic, "a")
			once := err == nil && s.canceled == 0 // unless the call that did it is the one whose answer was lost
			require.True(s, ok == once || once && s.lost, s.name)
			if ok {
				s.canceled++
			}
			return err
		},
		done: func(s *scene) bool {
			g := s.either("g", abc[:1], times(1, "ready 0 0"), times(1, "none"))
			require.Equal(s, g, s.either("h", abc[:1], times(1, "ready 0 0"), times(1, "none")), s.name)
			return g
		},
	},
	{
		name: "reschedule",
		arrange: func(s *scene) {
			s.subscribe("g")
			s.push(messages("a")...)
		},
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			ok, err := b.Reschedule(ctx, s.q.Topic, "a", time.Now().Add(time.Hour))
			require.Equal(s, err == nil, ok, s.name)
			return err
		},
		done: func(s *scene) bool { return s.either("g", abc[:1], times(1, "ready 0 0"), times(1, "delayed 0 0")) },
	},
	{
		name:    "requeue",
		arrange: func(s *scene) { s.bury() },
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			outcomes, err := b.Requeue(ctx, s.q, abc...)
			return s.outcomes(outcomes, err, driver.ErrNotFound)
		},
		done: func(s *scene) bool { return s.either("g", abc, times(3, "dead 1 1"), times(3, "ready 0 0")) },
	},
	{
		name:    "delete dead letters",
		arrange: func(s *scene) { s.bury() },
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			_, err := b.DeleteDead(ctx, s.q, abc...)
			return err
		},
		done: func(s *scene) bool { return s.either("g", abc, times(3, "dead 1 1"), times(3, "none")) },
	},
	{
		name:    "purge",
		steps:   true,
		arrange: func(s *scene) { s.subscribe("g"); s.push(messages(abc...)...) },
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			_, err := b.Purge(ctx, s.q)
			return err
		},
		done: func(s *scene) bool { return s.either("g", abc, times(3, "ready 0 0"), times(3, "none")) },
	},
	{
		name:    "subscribe",
		arrange: func(*scene) {},
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			return b.Subscribe(ctx, s.q)
		},
		done: func(s *scene) bool { return s.groups() == 1 },
	},
	{
		name:    "unsubscribe",
		steps:   true,
		arrange: func(s *scene) { s.bury(); s.push(messages("d")...) },
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			return b.Unsubscribe(ctx, s.q)
		},
		done: func(s *scene) bool {
			return s.groups() == 0 && s.look("g", "a") == "none" && s.look("g", "d") == "none"
		},
	},
	{
		name:    "pause",
		arrange: func(s *scene) { s.subscribe("g") },
		do: func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
			return b.Pause(ctx, driver.Queue{Topic: s.q.Topic})
		},
		done: func(s *scene) bool {
			all, err := s.b.Status(s.Context(), s.q.Topic)
			require.NoError(s, err, s.name)
			return all[0].Paused
		},
	},
}

// claimAll claims what is there.
func claimAll(atMostOnce bool) func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
	return func(ctx context.Context, s *scene, b *sqlqueue.Broker) error {
		c, err := b.Claim(ctx, s.q, driver.ClaimRequest{Limit: 10, Lease: time.Minute, AtMostOnce: atMostOnce, Consumer: "consumer of " + s.name})
		for _, d := range c.Deliveries {
			require.NotContains(s, s.got, d.ID, "%s: claimed twice", s.name)
			s.got = append(s.got, d.ID)
		}
		return err
	}
}

// claimed reports whether each of abc is as one that is claimed. Those that are
// not must be as before, and those that are must have been returned, unless an
// answer was lost.
func claimed(before, after string) func(s *scene) bool {
	return func(s *scene) bool {
		n := 0
		for _, id := range abc {
			switch state := s.look("g", id); {
			case state == after && (s.lost || slices.Contains(s.got, id)):
				n++
			case state != before || slices.Contains(s.got, id):
				s.Fatalf("%s: %s is %q, got %q", s.name, id, state, s.got)
			}
		}
		return n == len(abc)
	}
}

// bury makes dead letters of abc.
func (s *scene) bury() {
	s.Helper()
	s.settleAll(driver.Bury)
}

// pushEnded stores abc and acks them.
func (s *scene) pushEnded() {
	s.Helper()
	s.settleAll(driver.Ack)
}

func (s *scene) settleAll(v driver.Verb) {
	s.Helper()
	s.subscribe("g")
	s.push(messages(abc...)...)
	s.claim(3)
	var all []driver.Settlement
	for _, r := range s.receipts() {
		all = append(all, driver.Settlement{Receipt: r, Verb: v})
	}
	outcomes, err := s.b.Settle(s.Context(), s.q, all)
	require.NoError(s, s.outcomes(outcomes, err, nil), s.name)
}

// groups counts those that are subscribed: a message pushed now is stored so often.
func (s *scene) groups() int {
	s.Helper()
	all, err := s.b.Status(s.Context(), s.q.Topic)
	require.NoError(s, err, s.name)
	n := 0
	for _, st := range all {
		if st.Queue == s.q {
			n++
		}
	}
	return n
}
