// Package driver is the seam between fanfare and the systems that keep its
// events. A backend implements [Broker] and as many of the optional abilities
// ([Canceler], [Inspector], [DeadLetters], [Purger], [Pauser], [Transactor],
// [Assessor]) as it can; the engine of package fanfare does the rest: it claims,
// runs handlers, renews leases, decides about retries and settles. A backend has
// no goroutine, no retry policy and no handler in it, and sees bodies as bytes.
//
// # The life of a message
//
// Push stores one copy of a message for every group of its topic. A copy waits
// until its due time, is claimed under a lease, and is then settled: acked,
// given back for a retry, released, or buried as a dead letter. A lease that
// runs out makes the copy claimable again; nobody has to notice.
//
//	Push ─► waiting ──Claim──► running ──Ack──► gone (its id stays known for the window)
//	           ▲                  │ ├──Bury──► dead ──Requeue──► waiting
//	           └─Retry, Release,──┘
//	             lease ran out
//
// # Rules
//
// Three rules keep the promise that nothing accepted is lost, and package
// drivertest tests them: each claim has a token, and whatever is done under a
// lease is refused once the token is no longer the valid one; moving a message
// from one state to another is one atomic step; and a completed id is
// remembered for a while, so that a Push whose answer was lost can be repeated.
//
// Time is the backend's: delays are added to its clock, due times and leases
// are compared with it, and nothing is claimable before its due time by that
// clock. Durations and instants that it cannot represent are rounded up.
//
// All methods may be called concurrently. Each returns by the deadline of its
// context, and its error then matches [ErrUnavailable] or [ErrUnknownOutcome].
package driver

import (
	"context"
	"time"
)

// DefaultGroup is the group that events wait for while their topic has none.
const DefaultGroup = "default"

// Queue names one group's copies of the events of one topic.
type Queue struct {
	Topic string
	Group string
}

// Priority orders the ready messages of a queue. Higher ones are claimed first,
// but weighted (6 high to 3 normal to 1 low), so that none is starved. Messages
// of one priority are claimed in the order of their due times.
type Priority int8

// The priorities. The zero value is Normal.
const (
	Low    Priority = -1
	Normal Priority = 0
	High   Priority = 1
)

// Conflict says how a Push meets a message of the same id. With all but
// KeepFirst, an id that is merely known, because it ended within the window, is
// pushed again: so a Push of these kinds that is repeated after its answer was
// lost may store the message once more.
type Conflict uint8

const (
	// KeepFirst refuses the new message with ErrDuplicate. It is the zero value.
	KeepFirst Conflict = iota
	// Replace gives a message that waits the body, due time and priority of the
	// new one. Where it runs the new one is refused with ErrDuplicate.
	Replace
	// PushBack gives a message that waits the due time of the new one, and nothing
	// else. Where it runs the new one is refused with ErrDuplicate.
	PushBack
	// RunAgain keeps a message that waits (ErrDuplicate); where it is running,
	// the new one is kept beside it and waits from when the running one ends.
	// At most one is kept so: a second is refused with ErrDuplicate.
	RunAgain
)

// Message is what Push stores.
type Message struct {
	// ID is unique in its topic while a copy waits or runs, and for the
	// broker's window after a copy was acked or buried.
	ID string
	// The message is due at the later of now + Delay and At, both by the
	// backend's clock. Zero values mean now.
	Delay time.Duration
	At    time.Time

	Priority Priority
	Conflict Conflict
	Body     []byte
}

// Receipt identifies one claim of one message.
type Receipt struct {
	ID string
	// Token is opaque, and differs between any two claims of one message.
	Token string
	// Fence grows with every claim of the message: a resource that remembers
	// the greatest fence it has seen can refuse a holder that was overtaken.
	Fence int64
}

// Delivery is a message that was claimed.
type Delivery struct {
	Receipt
	Body     []byte
	Priority Priority
	// Due is when the message was due, by the backend's clock.
	Due time.Time
	// Attempt counts the claims of the message, this one included, without
	// those that were released.
	Attempt int
	// Failures counts how often it was given back by Retry. Attempt - 1 -
	// Failures is how often its lease ran out.
	Failures int
}

// ClaimRequest says what a consumer wants.
type ClaimRequest struct {
	// Limit is the greatest number of messages, at least 1. A broker may
	// return fewer than are due.
	Limit int
	// Lease is how long the messages stay hidden from other consumers.
	Lease time.Duration
	// AtMostOnce acks the messages in the step that claims them.
	AtMostOnce bool
	// Consumer names the process in [Status]. A consumer counts for as long
	// as it claims or extends at least every few seconds.
	Consumer string
}

// Claim is the answer to a ClaimRequest.
type Claim struct {
	Deliveries []Delivery
	// Now is the backend's clock when it claimed.
	Now time.Time
	// Next is how long after Now another message of the queue becomes
	// claimable, because it is due or its lease ends; zero if one is already,
	// negative if the broker knows of none.
	Next time.Duration
}

// Verb is what a Settlement does with a claimed message.
type Verb uint8

const (
	// Ack removes the message. Its id stays known for the window.
	Ack Verb = iota
	// Retry lets it wait until Delay or At has passed and counts a failure.
	Retry
	// Release gives it back as if it had not been claimed, due after Delay.
	Release
	// Bury moves it to the dead letters and counts a failure. Its id stays
	// known for the window and is free after that; a dead letter gives way to
	// a later one of the same id.
	Bury
)

// Settlement ends one claim.
type Settlement struct {
	Receipt
	Verb  Verb
	Delay time.Duration // Retry and Release: due at the later of now + Delay ...
	At    time.Time     // ... and At
	// Reason is why a message is buried: a word, such as "exhausted".
	Reason string
	// Error is the text of the failure, for Retry and Bury. Where it is empty,
	// that of an earlier failure stays.
	Error string
}

// Capabilities says which fields of messages and requests a broker honours.
// One that it does not honour it refuses with ErrUnsupported.
type Capabilities struct {
	Durable    bool          // accepted messages survive this process
	Delay      time.Duration // the resolution of delays and instants; 0: none are possible
	UniqueID   bool          // ErrDuplicate, and the window
	Conflict   bool          // Replace, PushBack and RunAgain
	Priority   bool
	Groups     bool // more than DefaultGroup
	AtMostOnce bool
	MaxBody    int // the greatest body in bytes; 0: no limit of the broker's
}

// Broker keeps messages. See the package comment for what every method obeys.
type Broker interface {
	Capabilities() Capabilities

	// Subscribe makes sure that q.Topic has the group q.Group: each message
	// pushed after it returned is copied for the group. It starts nothing and
	// may be repeated.
	Subscribe(ctx context.Context, q Queue) error

	// Unsubscribe removes the group and everything it holds, dead letters
	// included, and its pause. Removing what is not there is no error.
	Unsubscribe(ctx context.Context, q Queue) error

	// Push stores messages on a topic for each of its groups, or for
	// DefaultGroup if it has none. It returns an outcome for each message:
	// nil (accepted), ErrDuplicate, or why it was refused. If error is not
	// nil none is known to be accepted: with ErrUnknownOutcome any may be,
	// with every other error none is. A message is stored for all groups or
	// none. Repeating a Push with the same ids is safe. A broker that repeats it
	// itself returns, for a message that it may have stored the first time, an
	// error that matches both ErrUnknownOutcome and ErrDuplicate.
	Push(ctx context.Context, topic string, msgs []Message) ([]error, error)

	// Claim leases due messages of q, up to r.Limit. It does not wait. Messages
	// whose lease ran out are claimable with their priority and due time.
	Claim(ctx context.Context, q Queue, r ClaimRequest) (Claim, error)

	// Wait returns when a message of q may have become claimable, or after d.
	// It is a hint: nil says nothing about what a Claim will find.
	Wait(ctx context.Context, q Queue, d time.Duration) error

	// Extend sets the leases of held claims to end one lease from now, never
	// earlier than they did, and reports which of them are lost. consumer is
	// the name given to Claim.
	Extend(ctx context.Context, q Queue, consumer string, lease time.Duration, held []Receipt) (lost []bool, err error)

	// Settle ends claims, each on its own: it returns nil or ErrLeaseLost for
	// each. A claim that was ended already counts as settled, so a Settle
	// whose answer was lost may be repeated. If error is not nil, any of the
	// claims may have been settled.
	Settle(ctx context.Context, q Queue, s []Settlement) ([]error, error)

	// Close releases what the broker itself opened.
	Close() error
}
