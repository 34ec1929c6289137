package sqlqueue

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// maxBody is the greatest body: with its statement it fits into the 16 MiB that
// MariaDB takes in one packet by default, also where each byte is escaped.
const maxBody = 8<<20 - 4<<10

// Broker is the driver.Broker on a database. Use one for each database and
// prefix in a process: what is dispatched through it wakes consumers of it at
// once. It can be used for several dispatchers at the same time.
type Broker struct {
	grammar
	options
	dialect Dialect
	db      *sql.DB
	tables  *strings.Replacer
	writing chan struct{} // SQLite: taken by whoever writes

	wakes     wakes
	notes     notes
	listening listening

	mu         sync.Mutex
	turns      map[driver.Queue]int      // the place in the cycle of priorities
	seen       map[consumer]time.Time    // when a consumer was last written down
	trimmed    map[driver.Queue]trimming // when ids that ended were last forgotten
	subscribed map[driver.Queue]bool     // by this broker
	streaks    map[driver.Queue]streak
	singles    map[string]queueRow // the only group of a topic
}

// remembered bounds how many queues and consumers a broker remembers.
const remembered = 4096

// consumer is a process that handles a queue.
type consumer struct {
	queue driver.Queue
	name  string
}

var (
	_ driver.Broker      = (*Broker)(nil)
	_ driver.Canceler    = (*Broker)(nil)
	_ driver.Inspector   = (*Broker)(nil)
	_ driver.DeadLetters = (*Broker)(nil)
	_ driver.Purger      = (*Broker)(nil)
	_ driver.Pauser      = (*Broker)(nil)
	_ driver.Transactor  = (*Broker)(nil)
)

// New returns a broker on the tables that [Migrate] made in db, which stays the
// caller's to close. It does not connect: an error is about the arguments, and
// matches driver.ErrInvalid. Close it after the dispatchers that use it were
// stopped.
func New(db *sql.DB, dialect Dialect, opts ...Option) (*Broker, error) {
	g, ok := grammars[dialect]
	if !ok {
		return nil, fmt.Errorf("sqlqueue: %v, want MySQL, Postgres or SQLite: %w", dialect, driver.ErrInvalid)
	}
	if db == nil {
		return nil, fmt.Errorf("sqlqueue: nil *sql.DB: %w", driver.ErrInvalid)
	}
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if o.listener != nil && dialect != Postgres {
		return nil, fmt.Errorf("sqlqueue: a Listener is for Postgres, not for %v: %w", dialect, driver.ErrInvalid)
	}
	return &Broker{
		grammar: g, options: o, dialect: dialect, db: db,
		tables:     strings.NewReplacer("{", o.prefix, "}", ""),
		writing:    make(chan struct{}, 1),
		notes:      notes{sending: make(chan struct{}, 1)},
		turns:      map[driver.Queue]int{},
		seen:       map[consumer]time.Time{},
		trimmed:    map[driver.Queue]trimming{},
		subscribed: map[driver.Queue]bool{},
		streaks:    map[driver.Queue]streak{},
		singles:    map[string]queueRow{},
	}, nil
}

// Capabilities implements driver.Broker: all there are.
func (b *Broker) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		Durable:    true,
		Delay:      time.Microsecond,
		UniqueID:   true,
		Conflict:   true,
		Priority:   true,
		Groups:     true,
		AtMostOnce: true,
		MaxBody:    maxBody,
	}
}

// Close ends the listening of a [Listener], and waits for it and for notifications
// that are to be sent. It leaves the database open.
func (b *Broker) Close() error {
	b.listening.stop()
	b.notes.late.Wait()
	return nil
}

func checkQueue(q driver.Queue) error {
	if err := driver.CheckName("topic", q.Topic); err != nil {
		return fmt.Errorf("sqlqueue: %w", err)
	}
	if err := driver.CheckName("group", q.Group); err != nil {
		return fmt.Errorf("sqlqueue: %w", err)
	}
	return nil
}

// micros is d in microseconds, rounded up.
func micros(d time.Duration) int64 {
	return int64(d/time.Microsecond) + min(1, int64(d%time.Microsecond))
}

// span is so many microseconds, or the greatest Duration if they are more.
func span(us int64) time.Duration {
	if us > math.MaxInt64/int64(time.Microsecond) {
		return math.MaxInt64
	}
	return time.Duration(us) * time.Microsecond
}

// instant is t in microseconds since 1970, rounded up; 0 for the zero Time and
// whatever lies before 1970.
func instant(t time.Time) int64 {
	if t.Unix() < 0 {
		return 0
	}
	if t.Unix() > maxInstant/1_000_000 {
		return maxInstant
	}
	us := t.UnixMicro()
	if t.Nanosecond()%1000 != 0 {
		us++
	}
	return us
}

// maxInstant is the last due time, in the year 73,063: sums of it and of any
// duration are still numbers of 64 bits.
const maxInstant = 1 << 61

// dueTime is the later of now + delay and at.
func dueTime(now int64, delay time.Duration, at time.Time) int64 {
	return max(now+micros(max(delay, 0)), instant(at))
}

// laneOf returns the lane of what waits with a priority.
func laneOf(p driver.Priority) int64 { return int64(driver.High - p) }

const (
	lanes       = 3 // of what waits: 0 high, 1 normal, 2 low
	laneRunning = 3
	laneEnded   = 4
	laneDead    = 5 // of the table of dead letters
)

// lineOf returns the number under which the index has a lane of a queue. There is
// no index on the queue alone: where the database does not know how long a queue
// is, it would take that one to find ids, and read the whole queue.
func lineOf(queue, lane int64) int64 { return queue*laneCount + lane }

// laneCount is more than there are lanes. It stands in the statements as 8.
const laneCount = 8

// head is what every step begins with: the clock, and the queues of a topic.
type head struct {
	now    int64
	queues []queueRow
}

type queueRow struct {
	driver.Queue
	id                 int64
	subscribed, paused bool
}

// What the column subscribed says of a group: a row may be there before the group
// is, and stays when it was removed.
const (
	groupAdded   = 1
	groupRemoved = 2
)

func isSubscribed(column int64) bool { return column == groupAdded }

// head reads the clock and the rows of a topic.
func (s session) head(ctx context.Context, topic string) (head, error) {
	return s.lockHead(ctx, topic, "")
}

// lockHead is head with a lock.
func (s session) lockHead(ctx context.Context, topic, lock string) (head, error) {
	var h head
	version := 0
	err := s.each(ctx, func(scan func(...any) error) error {
		var id, subscribed, paused sql.NullInt64
		var group []byte
		if err := scan(&h.now, &version, &id, &group, &subscribed, &paused); err != nil {
			return err
		}
		if id.Valid {
			q := driver.Queue{Topic: topic, Group: string(group)}
			h.queues = append(h.queues, queueRow{q, id.Int64, isSubscribed(subscribed.Int64), paused.Int64 != 0})
		}
		return nil
	}, "SELECT "+s.now+", s.version, q.id, q.grp, q.subscribed, q.paused FROM {schema} s LEFT JOIN {queues} q ON q.topic = ? ORDER BY q.id"+lock, blob(topic))
	if err != nil {
		return h, err
	}
	h.now = s.clock(h.now)
	return h, checkVersion(version)
}

// find returns the row of a group.
func (h head) find(group string) (queueRow, bool) {
	for _, q := range h.queues {
		if q.Group == group {
			return q, true
		}
	}
	return queueRow{}, false
}

// ids returns the ids of all rows: at least one.
func (h head) ids() []int64 {
	ids := []int64{-1}
	for i, q := range h.queues {
		ids = append(ids[:i], q.id)
	}
	return ids
}

// ensure returns the row of a group, which it makes if there is none.
func (s session) ensure(ctx context.Context, h *head, q driver.Queue) (queueRow, error) {
	if row, ok := h.find(q.Group); ok {
		return row, nil
	}
	_, err := s.exec(ctx, s.insert+" INTO {queues} (topic, grp, subscribed, paused) VALUES (?, ?, 0, 0)"+s.ignore, blob(q.Topic), blob(q.Group))
	if err != nil {
		return queueRow{}, err
	}
	row := queueRow{Queue: q}
	err = s.each(ctx, func(scan func(...any) error) error {
		var subscribed, paused int64
		err := scan(&row.id, &subscribed, &paused)
		row.subscribed, row.paused = isSubscribed(subscribed), paused != 0
		return err
	}, "SELECT id, subscribed, paused FROM {queues} WHERE topic = ? AND grp = ?"+s.current, blob(q.Topic), blob(q.Group))
	if err == nil {
		h.queues = append(h.queues, row)
	}
	return row, err
}
