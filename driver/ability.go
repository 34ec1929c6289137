package driver

import (
	"context"
	"database/sql"
	"time"
)

// Canceler is the ability to reach a waiting message by its id.
type Canceler interface {
	// Cancel removes every copy of the message that waits, and what RunAgain
	// keeps beside one that runs. It reports true if it removed one that waited
	// and none is running: the message will never run. The id of a canceled
	// message is free at once.
	Cancel(ctx context.Context, topic, id string) (bool, error)

	// Reschedule makes every copy that waits due at the given instant, and what
	// RunAgain keeps beside one that runs. It reports whether there was one.
	Reschedule(ctx context.Context, topic, id string, at time.Time) (bool, error)
}

// State is where a message is in its life.
type State string

// The states. Waiting stands for Ready and Delayed together in List; no Record has it.
const (
	Ready   State = "ready"   // due, and not claimed
	Delayed State = "delayed" // due later; also a message that waits for its retry
	Running State = "running" // claimed
	Dead    State = "dead"    // buried
	Waiting State = "waiting"
)

// Record is one group's copy of a message as it is kept.
type Record struct {
	ID       string
	Queue    Queue
	State    State
	Priority Priority
	Attempts int
	Failures int
	// Time is when the message is or was due (Ready, Delayed), when its lease
	// ends (Running), or when it was buried (Dead).
	Time      time.Time
	LastError string // of the latest failure, if there was one
	Reason    string // Dead: why
	Body      []byte
}

// Status counts the messages of one queue.
type Status struct {
	Queue     Queue
	Ready     int
	Delayed   int
	Running   int
	Dead      int
	Consumers int
	Paused    bool
	// OldestDue is for how long the oldest ready message has been due.
	OldestDue time.Duration
}

// Inspector is the ability to look at messages without claiming them.
type Inspector interface {
	// Get returns one copy of a message, or ErrNotFound. Where a message
	// lives and an older one of its id is dead, it returns the living.
	Get(ctx context.Context, q Queue, id string) (Record, error)

	// List returns up to limit records from the given offset: Waiting, Ready
	// and Delayed ones in the order in which they will be claimed (ready ones
	// by priority and due time, then delayed ones by due time), Running ones
	// by the end of their lease, Dead ones oldest first. A negative offset counts
	// from the end: -1 is the last. The cost does not grow with the queue.
	List(ctx context.Context, q Queue, s State, offset, limit int) ([]Record, error)

	// Status counts the queues of the given topics, or of all topics, sorted
	// by topic and group. A topic without groups shows DefaultGroup.
	Status(ctx context.Context, topics ...string) ([]Status, error)
}

// DeadLetters is the ability to decide about dead messages. List shows them.
type DeadLetters interface {
	// Requeue lets dead messages wait again, due now, with their id, body and
	// priority, and with their counters at zero. It returns an outcome for each:
	// nil, ErrNotFound, or ErrDuplicate if a message of that id lives.
	Requeue(ctx context.Context, q Queue, ids ...string) ([]error, error)

	// DeleteDead removes dead messages and returns how many there were.
	DeleteDead(ctx context.Context, q Queue, ids ...string) (int, error)
}

// Purger is the ability to empty a queue.
type Purger interface {
	// Purge removes what waits and what runs, and returns how many there were:
	// running messages do not come back, and their claims are lost. Dead letters
	// stay. It works in steps that each hold the backend only briefly.
	Purge(ctx context.Context, q Queue) (int, error)
}

// Pauser is the ability to stop claims for all consumers of a queue. It lasts
// until it is resumed, also across restarts of all processes. A queue is paused
// if its group or its topic is.
type Pauser interface {
	// Pause pauses a group of a topic, or the whole topic where q.Group is empty.
	Pause(ctx context.Context, q Queue) error
	// Resume ends what Pause with the same q began.
	Resume(ctx context.Context, q Queue) error
}

// Transactor is the ability to work in a transaction of the caller's, where
// messages are kept in the same SQL database as the caller's own data.
type Transactor interface {
	// InTx returns what is part of tx: it takes effect if tx commits, and not at
	// all if it does not. After an error that is not the outcome of one message,
	// tx is to be rolled back.
	InTx(tx *sql.Tx) Tx
}

// Tx is the part of a broker that a transaction can have. It repeats nothing by
// itself, holds nothing open, and is of no more use when the transaction ended.
type Tx interface {
	Canceler
	Push(ctx context.Context, topic string, msgs []Message) ([]error, error)
	// Settle ends claims if the transaction commits. Until it ends nobody else
	// can claim them, even where their leases run out, and Extend does not
	// report them as lost.
	Settle(ctx context.Context, q Queue, s []Settlement) ([]error, error)
}
