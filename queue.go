package fanfare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Cancel removes a waiting event. True means that it will never run: it was
// waiting, for its time, its turn or its retry, and is no more. False means that
// it runs at this moment, has ended, or never was. Where several groups have a
// copy, each waiting copy is removed, and it is true if one was and none runs.
func (d *Durable) Cancel(ctx context.Context, topic, id string) (bool, error) {
	b, err := ability[driver.Canceler](d, "Cancel")
	if err != nil {
		return false, err
	}
	return d.cancel(ctx, b, topic, id)
}

func (d *Durable) cancel(ctx context.Context, b driver.Canceler, topic, id string) (bool, error) {
	ok, err := b.Cancel(ctx, topic, id)
	if err != nil {
		return false, fmt.Errorf("cancel %s of %s: %w", quoteName(id), quoteName(topic), err)
	}
	if ok {
		d.counters.cancelled.Add(1)
		d.observer.cancelled(Observation{Topic: topic, ID: id})
	}
	return ok, nil
}

// Reschedule lets a waiting event wait until at, by the backend's clock. It
// reports whether one was waiting.
func (d *Durable) Reschedule(ctx context.Context, topic, id string, at time.Time) (bool, error) {
	b, err := ability[driver.Canceler](d, "Reschedule")
	if err != nil {
		return false, err
	}
	return d.reschedule(ctx, b, topic, id, at)
}

func (d *Durable) reschedule(ctx context.Context, b driver.Canceler, topic, id string, at time.Time) (bool, error) {
	ok, err := b.Reschedule(ctx, topic, id, at)
	if err != nil {
		return false, fmt.Errorf("reschedule %s of %s: %w", quoteName(id), quoteName(topic), err)
	}
	return ok, nil
}

// Get returns the copies of an event, one for each group that has one, or
// ErrNotFound: an event that is done leaves nothing behind.
func (d *Durable) Get(ctx context.Context, topic, id string) ([]Record, error) {
	queues, err := d.Status(ctx, topic)
	if err != nil {
		return nil, err
	}
	var found []Record
	for _, q := range queues {
		r, err := d.Queue(topic, q.Group).Get(ctx, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("get %s of %s: %w", quoteName(id), quoteName(topic), ErrNotFound)
	}
	return found, nil
}

// QueueStatus counts the events of one group of a topic.
type QueueStatus struct {
	Topic     string
	Group     string
	Ready     int // due, and not yet claimed
	Delayed   int // due later, or waiting for a retry
	Running   int
	Dead      int
	Consumers int // processes that handle the group; one that died counts for some seconds more
	Paused    bool
	OldestDue time.Duration // for how long the oldest ready event has been due
}

// Status counts the events of the given topics, or of all topics, in every
// group, sorted by topic and group.
func (d *Durable) Status(ctx context.Context, topics ...string) ([]QueueStatus, error) {
	b, err := ability[driver.Inspector](d, "Status")
	if err != nil {
		return nil, err
	}
	all, err := b.Status(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	result := make([]QueueStatus, len(all))
	for i, s := range all {
		result[i] = QueueStatus{
			Topic: s.Queue.Topic, Group: s.Queue.Group,
			Ready: s.Ready, Delayed: s.Delayed, Running: s.Running, Dead: s.Dead,
			Consumers: s.Consumers, Paused: s.Paused, OldestDue: s.OldestDue,
		}
	}
	return result, nil
}

// Health returns nil if the backend answers, is as durable as [RequireDurability]
// says, and no event of a topic and group handled here has been due for longer
// than [WithUnhealthyAfter]. Paused ones do not count.
func (d *Durable) Health(ctx context.Context) error {
	d.mu.Lock()
	topics := []string{"health"} // an answer is an answer
	for q := range d.consumers {
		topics = append(topics, q.Topic)
	}
	d.mu.Unlock()
	all, err := d.Status(ctx, topics...)
	if err != nil {
		return err
	}
	if err := d.requireDurability(ctx); err != nil {
		return fmt.Errorf("health: %w", err)
	}
	for _, s := range all {
		d.mu.Lock()
		ours := d.consumers[driver.Queue{Topic: s.Topic, Group: s.Group}] != nil
		d.mu.Unlock()
		if ours && !s.Paused && s.OldestDue > d.unhealthy {
			return fmt.Errorf("topic %s, group %s: %d events ready, the oldest due %v ago: %w",
				quoteName(s.Topic), quoteName(s.Group), s.Ready, s.OldestDue, ErrUnhealthy)
		}
	}
	return nil
}

// Purge removes all events of a topic that wait or run, in every group, and
// returns how many. Running ones do not come back: their handlers' contexts end
// with ErrLeaseLost when their leases are renewed next. Dead letters stay.
func (d *Durable) Purge(ctx context.Context, topic string) (int, error) {
	queues, err := d.Status(ctx, topic)
	if err != nil {
		return 0, err
	}
	sum := 0
	for _, q := range queues {
		n, err := d.Queue(topic, q.Group).Purge(ctx)
		sum += n
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// Pause lets no process claim events of the topic, in no group, until Resume.
// It outlives all processes. Events go on being accepted, and running ones end.
func (d *Durable) Pause(ctx context.Context, topic string) error {
	return (&Queue{d: d, q: driver.Queue{Topic: topic}}).Pause(ctx)
}

// Resume ends a Pause of the topic. Groups that are paused themselves stay so.
func (d *Durable) Resume(ctx context.Context, topic string) error {
	return (&Queue{d: d, q: driver.Queue{Topic: topic}}).Resume(ctx)
}

// Queue is one group's copies of the events of a topic, to look at and to
// manage. It holds nothing open.
type Queue struct {
	d *Durable
	q driver.Queue
}

// Queue returns the queue of a topic and group; an empty group is "default".
func (d *Durable) Queue(topic, group string) *Queue {
	if group == "" {
		group = driver.DefaultGroup
	}
	return &Queue{d: d, q: driver.Queue{Topic: topic, Group: group}}
}

// Create makes the group known, as Register does, without handling anything: so
// that events are kept for a service that has never run.
func (q *Queue) Create(ctx context.Context) error {
	return q.explain("create", q.d.broker.Subscribe(ctx, q.q))
}

// Delete removes the group with everything it holds, dead letters included.
// While a process handles the group it should not be deleted.
func (q *Queue) Delete(ctx context.Context) error {
	return q.explain("delete", q.d.broker.Unsubscribe(ctx, q.q))
}

// State is where an event is in its life.
type State string

// The states of a [Record].
const (
	Ready   = State(driver.Ready)   // due, and not yet claimed
	Delayed = State(driver.Delayed) // due later, or waiting for a retry
	Running = State(driver.Running) // a handler has it
	Dead    = State(driver.Dead)    // a dead letter
)

// Record is one group's copy of an event, as the backend keeps it.
type Record struct {
	ID       string
	Topic    string
	Group    string
	State    State
	Priority Priority
	Attempts int // so far, the running one included
	Failures int // of the attempts; the others ended with their process
	// Time is when the event is or was due (Ready, Delayed), when its lease
	// ends (Running), or when it died (Dead), by the backend's clock.
	Time         time.Time
	LastError    string // of the last failure
	Reason       string // Dead: ReasonExhausted, ReasonDiscarded, ReasonUndecodable or ReasonPoison
	DispatchedAt time.Time
	Headers      map[string]string
	Payload      Encoded
}

func (q *Queue) record(r driver.Record) Record {
	result := Record{
		ID: r.ID, Topic: r.Queue.Topic, Group: r.Queue.Group,
		State: State(r.State), Priority: Priority(r.Priority),
		Attempts: r.Attempts, Failures: r.Failures, Time: r.Time,
		LastError: r.LastError, Reason: r.Reason,
	}
	e, err := decodeEnvelope(r.Body)
	if err != nil { // as it is, so that somebody can look at it
		result.Payload = Encoded{contentType: typeBytes, data: r.Body}
		return result
	}
	result.DispatchedAt, result.Headers = e.dispatchedAt, e.headers
	result.Payload = Encoded{contentType: e.contentType, data: e.payload, codec: q.d.codec}
	return result
}

// Get returns an event of the group, or ErrNotFound.
func (q *Queue) Get(ctx context.Context, id string) (Record, error) {
	b, err := ability[driver.Inspector](q.d, "Get")
	if err != nil {
		return Record{}, err
	}
	r, err := b.Get(ctx, q.q, id)
	if err != nil {
		return Record{}, q.explain("get "+quoteName(id), err)
	}
	return q.record(r), nil
}

// Peek returns up to limit waiting events from the given place of the queue on,
// without claiming them: first the ready ones by priority and due time, then the
// delayed ones by due time. Place 0 is the next event, -1 the last.
func (q *Queue) Peek(ctx context.Context, place, limit int) ([]Record, error) {
	return q.list(ctx, driver.Waiting, place, limit)
}

// Running returns up to limit events that are being handled, by the end of
// their leases.
func (q *Queue) Running(ctx context.Context, place, limit int) ([]Record, error) {
	return q.list(ctx, driver.Running, place, limit)
}

// Dead returns up to limit dead letters, oldest first; -1 is the latest.
func (q *Queue) Dead(ctx context.Context, place, limit int) ([]Record, error) {
	return q.list(ctx, driver.Dead, place, limit)
}

func (q *Queue) list(ctx context.Context, s driver.State, place, limit int) ([]Record, error) {
	b, err := ability[driver.Inspector](q.d, "Peek")
	if err != nil {
		return nil, err
	}
	if limit < 1 {
		return nil, fmt.Errorf("limit %d, want at least 1: %w", limit, ErrInvalid)
	}
	all, err := b.List(ctx, q.q, s, place, limit)
	if err != nil {
		return nil, q.explain("list", err)
	}
	result := make([]Record, len(all))
	for i, r := range all {
		result[i] = q.record(r)
	}
	return result, nil
}

// Requeue lets dead letters be handled again: now, with the id, payload and
// priority that they had, and all their attempts. It returns an error that
// joins one for each that was not: ErrNotFound, or ErrDuplicate if an event of
// that id waits or runs.
func (q *Queue) Requeue(ctx context.Context, ids ...string) error {
	b, err := ability[driver.DeadLetters](q.d, "Requeue")
	if err != nil || len(ids) == 0 {
		return err
	}
	errs, err := b.Requeue(ctx, q.q, ids...)
	if err != nil {
		return q.explain("requeue", err)
	}
	return joinByID(ids, errs)
}

// DeleteDead removes dead letters and returns how many there were.
func (q *Queue) DeleteDead(ctx context.Context, ids ...string) (int, error) {
	b, err := ability[driver.DeadLetters](q.d, "DeleteDead")
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	n, err := b.DeleteDead(ctx, q.q, ids...)
	return n, q.explain("delete dead letters", err)
}

// Purge is [Durable.Purge] for one group.
func (q *Queue) Purge(ctx context.Context) (int, error) {
	b, err := ability[driver.Purger](q.d, "Purge")
	if err != nil {
		return 0, err
	}
	n, err := b.Purge(ctx, q.q)
	return n, q.explain("purge", err)
}

// Pause is [Durable.Pause] for one group.
func (q *Queue) Pause(ctx context.Context) error {
	b, err := ability[driver.Pauser](q.d, "Pause")
	if err != nil {
		return err
	}
	return q.explain("pause", b.Pause(ctx, q.q))
}

// Resume ends a Pause of the group.
func (q *Queue) Resume(ctx context.Context) error {
	b, err := ability[driver.Pauser](q.d, "Resume")
	if err != nil {
		return err
	}
	return q.explain("resume", b.Resume(ctx, q.q))
}

// explain says which queue an error is about.
func (q *Queue) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s, topic %s, group %s: %w", what, quoteName(q.q.Topic), quoteName(q.q.Group), err)
}
