/*
Package fanfare dispatches events to handlers: now or at a set time, in this
process or in another service.

A [Dispatcher] takes events for topics and runs the handlers registered for
them. [NewLocal] makes one that works in this process and is fast; [NewRedis] and
[OpenRedis] make one whose events live in Redis and survive processes; [New] makes
one over any other [driver.Broker], such as those of package sqlqueue, whose events
live in MariaDB, MySQL, PostgreSQL or SQLite. [Dispatch] and [Fanout] give one event
to any set of them. A [Topic] ties a name to the type of its events:

	var OrderPaid = fanfare.NewTopic[Order]("order.paid")

	_, err := OrderPaid.Register(ctx, d, func(ctx context.Context, o Order) error { … })
	err = OrderPaid.Dispatch(ctx, d, order, fanfare.Delay(15*time.Minute), fanfare.ID("order:42"))

# Delivery

In process an accepted event reaches every handler of its topic as long as the
process lives, and is lost with it. A durable dispatcher delivers at least once: an
accepted event is handled until a handler of each group has returned nil, or it is
among the dead letters with its last error, whatever happens to the processes that
produce and consume it. What the backend itself may lose depends on how it is
configured: [Durable.Durability] tells, the table in the README explains, and
[RequireDurability] insists. An event is handled more than once only if its handler
failed, if the process that handled it died or froze for longer than two thirds of
its lease, or if the backend was out of reach for as long. So handlers must bear to
be called again for the same event; [Delivery].ID tells them that it is the same,
and [Delivery].Fence which call is the later one.

# Time

An event with a [Delay] or a time set by [At] runs when its time has come, within
milliseconds, and never before, by the backend's clock. In process, time is that
of the monotonic clock.

# Order

Events of one topic, group and priority are started in the order of their due
times; with more than one handler at a time (see [Concurrency]) they overlap, and
an event that is tried again comes later than others. In process a delayed event
takes its place when its time has come, which can be just after an event that was
dispatched then without a delay. There is no other order.

# Failure

A handler that returns an error is called again after its [Backoff], up to
[MaxAttempts] times. [RetryIn], [RetryAt] and [Discard] choose otherwise. A panic
and runtime.Goexit are errors. Events that are given up become dead letters, which
[Queue] lists, requeues and deletes; in process they go to [WithOnDrop].

# Groups

On a durable dispatcher every [Group] of a topic gets its own copy of each event
from when it is first registered, or made by [Queue.Create], and the processes
that register for it share the work. While a topic has no group its events wait
for the group "default", and for no other. In process every handler gets every
event.

# Transactions

Where events are kept in the caller's own SQL database, [Durable.InTx] dispatches
in the caller's transaction: an event exists exactly if the data does that it is
about. A handler ends its event in the transaction of its effect with [Tx.Ack].
[Durable.Relay] forwards the events of a topic to any other dispatcher, under the
same ids; after InTx that is an outbox.

# Concurrency

Everything may be called from any goroutine, also from handlers. Handlers run in
goroutines of the dispatcher, at most [WithParallelThreshold] for a topic in
process, and for a topic and group otherwise. Their contexts carry the values of
the context given to [WithContext], and end when the dispatcher is stopped
without patience, when [Timeout] has passed, or when another process may have
taken the event over; context.Cause is then [ErrStopped], [ErrTimeout] or
[ErrLeaseLost].

# Shutdown

A constructor starts nothing. Consuming starts with the first handler. Stop ends
it: it lets running handlers finish until its context ends, and gives back to the
backend what they have not finished. [WithContext] binds that to a context.

# Errors

Errors that a caller decides on are the variables of this package, to be tested
with errors.Is. No panic of a handler ends the process.
*/
package fanfare
