package fanfare

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Durability is what becomes of accepted events when the backend crashes: a
// level, the replicas that have an event before it is accepted, and the settings
// that are the reasons for it.
type Durability = driver.Durability

// DurabilityLevel orders durabilities by what the backend may lose.
type DurabilityLevel = driver.DurabilityLevel

// The levels, the worst one first. Processes that dispatch and handle may be
// killed at all of them.
const (
	DurabilityNone     = driver.DurabilityNone     // the backend may throw events away though nothing crashed
	DurabilityUnknown  = driver.DurabilityUnknown  // it does not tell
	DurabilityProcess  = driver.DurabilityProcess  // a crash of the server or its machine may lose all
	DurabilitySnapshot = driver.DurabilitySnapshot // ... what came since it last wrote to the disk: up to minutes
	DurabilitySeconds  = driver.DurabilitySeconds  // ... the last seconds
	DurabilitySynced   = driver.DurabilitySynced   // ... nothing: an event is on the disk before it is accepted
)

// ErrNotDurable reports a backend that is less durable than the dispatcher
// requires: see [RequireDurability]. Nothing was sent. The text says which
// settings are the reason, and what would be better.
var ErrNotDurable = errors.New("the backend is not durable enough")

// Durability asks the backend how it is configured, and returns what follows
// from that for events that it accepts. A backend that refuses to tell, as many a
// managed Redis does, is DurabilityUnknown, with that as the reason. It returns
// ErrUnsupported for a backend that cannot be asked.
//
// The dispatcher asks by itself too: at its first Register or Dispatch, and about
// every 30s while it dispatches or consumes. It logs the answer once, as a warning
// below DurabilitySeconds, and again when the level changes. What it refuses is up
// to [RequireDurability].
func (d *Durable) Durability(ctx context.Context) (Durability, error) {
	b, err := ability[driver.Assessor](d, "Durability")
	if err != nil {
		return Durability{}, err
	}
	if err := d.durability.take(ctx); err != nil {
		return Durability{}, fmt.Errorf("durability: %w", err)
	}
	defer d.durability.leave()
	found, err := d.ask(ctx, b)
	if err != nil {
		return Durability{}, fmt.Errorf("durability: %w", err)
	}
	return found.Durability, nil
}

// RequireDurability makes Register, Dispatch and Health fail with ErrNotDurable
// while the backend is at a lower level: from the first call on, and within 60s
// after its settings have changed. Consumers go on to handle what is there. While
// the backend cannot be asked, they fail as if it could not be reached.
//
// The default is DurabilityUnknown, which refuses DurabilityNone alone: a Redis
// that evicts keys of any kind (maxmemory-policy allkeys-*). DurabilityNone accepts
// even that. A higher level than the default also refuses a backend that does not
// tell. Durable dispatchers only.
//
// In a transaction of the caller's the backend is not asked. Where a requirement
// is above the default, call Durability before the first one.
func RequireDurability(level DurabilityLevel) Option {
	return option("RequireDurability", everDurable, func(c *config) error {
		if level < DurabilityNone || level > DurabilitySynced {
			return fmt.Errorf("%v, want DurabilityNone to DurabilitySynced", level)
		}
		c.required = level
		return nil
	})
}

// How often the backend is asked: again after durabilityFresh, or durabilityRetry
// if that failed. Where a level is required, an answer counts for
// durabilityCounts, and for no longer if there is no newer one.
const (
	durabilityFresh   = 30 * time.Second
	durabilityRetry   = 5 * time.Second
	durabilityCounts  = 55 * time.Second
	durabilityTimeout = time.Second // of a question that nobody waits for
)

// durabilityKeeper keeps what a dispatcher knows of its backend's durability.
// Nobody asks at fixed times: calls that find it old do, one at a time, while
// the others go on with what is known.
type durabilityKeeper struct {
	known atomic.Pointer[assessment]
	turn  chan struct{} // has an element while somebody asks
}

// assessment is one answer of the backend. It does not change.
type assessment struct {
	Durability
	asked   time.Time // zero if the backend has never answered
	fresh   time.Time // until when nobody needs to ask again
	refusal error     // why nothing is dispatched, or nil
	failed  bool      // refusal is that the backend could not be asked
}

func (k *durabilityKeeper) take(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

func (k *durabilityKeeper) leave() { <-k.turn }

// requireDurability returns why nothing is to be dispatched, or nil. It asks the
// backend if what is known is old.
func (d *Durable) requireDurability(ctx context.Context) error {
	b, ok := d.broker.(driver.Assessor)
	if !ok {
		return nil
	}
	known := d.durability.known.Load()
	if known != nil && time.Now().Before(known.fresh) {
		return known.refusal
	}
	if known == nil || known.failed {
		if err := d.durability.take(ctx); err != nil {
			return fmt.Errorf("durability: %w", err)
		}
	} else {
		select {
		case d.durability.turn <- struct{}{}:
		default:
			return known.refusal // another call asks
		}
	}
	defer d.durability.leave()
	if now := d.durability.known.Load(); now != known {
		return now.refusal // another call has asked
	}
	question, cancel := context.WithTimeout(ctx, durabilityTimeout)
	defer cancel()
	found, err := d.ask(question, b)
	switch {
	case err == nil:
		return found.refusal
	case ctx.Err() != nil: // that says nothing about the backend
		return fmt.Errorf("durability: %w", err)
	}
	return d.goOn(known, err)
}

// requireDurabilityKnown is requireDurability without asking.
func (d *Durable) requireDurabilityKnown() error {
	if known := d.durability.known.Load(); known != nil {
		return known.refusal
	}
	if d.required > DurabilityUnknown {
		return fmt.Errorf("%w: not known yet: call Durability before the transaction", ErrNotDurable)
	}
	return nil
}

// ask asks the backend, and keeps and logs what it says. The caller has the turn.
func (d *Durable) ask(ctx context.Context, b driver.Assessor) (*assessment, error) {
	answer, err := b.Durability(ctx)
	if err != nil {
		return nil, err
	}
	before := d.durability.known.Load()
	now := time.Now()
	found := &assessment{
		Durability: answer, refusal: refuseDurability(answer, d.required), asked: now, fresh: now.Add(durabilityFresh),
	}
	d.durability.known.Store(found)
	if before == nil || before.asked.IsZero() || before.Level != found.Level {
		d.logDurability(found)
	}
	return found, nil
}

// goOn decides what counts after the backend could not be asked because of err.
func (d *Durable) goOn(known *assessment, err error) error {
	var still assessment
	if known != nil {
		still = *known
	}
	now := time.Now()
	still.fresh = now.Add(durabilityRetry)
	if d.required > DurabilityUnknown && now.Sub(still.asked) > durabilityCounts {
		still.refusal, still.failed, still.fresh = fmt.Errorf("durability: %w", err), true, now
	}
	d.durability.known.Store(&still)
	return still.refusal
}

func refuseDurability(found Durability, required DurabilityLevel) error {
	if found.Level >= required {
		return nil
	}
	why := strings.Join(found.Reasons, "; ")
	if found.Level == DurabilityNone {
		return fmt.Errorf("%w: events may be thrown away: %s (RequireDurability(DurabilityNone) accepts that)", ErrNotDurable, why)
	}
	return fmt.Errorf("%w: %v, want %v: %s", ErrNotDurable, found.Level, required, why)
}

func (d *Durable) logDurability(a *assessment) {
	log := d.logger.Info
	switch {
	case a.refusal != nil:
		log = d.logger.Error
	case a.Level < DurabilitySeconds:
		log = d.logger.Warn
	}
	log("fanfare: durability of the backend", "level", a.Level, "replicas", a.Replicas, "refused", a.refusal != nil, "reasons", a.Reasons)
}
