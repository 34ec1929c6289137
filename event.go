package fanfare

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/fanfare-go/fanfare/driver"
)

// DelayedEvent is an event that knows its delay. It is asked once, when the
// event is dispatched; zero or less means now. [Delay] and [At] given to [With]
// replace it.
type DelayedEvent interface {
	Delayed() time.Duration
}

// With attaches options to an event; the result is dispatched in its place. It
// may be applied again: later options win. A wrong option is reported by the
// dispatch, before anything is sent, as an error that matches ErrOption.
func With(event any, opts ...EventOption) any {
	w, ok := event.(withOptions)
	if ok {
		w.settings.headers = maps.Clone(w.settings.headers)
	} else {
		w.event = event
	}
	for i, o := range opts {
		err := fmt.Errorf("event option %d is nil: %w", i+1, ErrOption)
		if o != nil {
			err = o.applyEvent(&w.settings)
		}
		if err != nil && w.settings.err == nil {
			w.settings.err = err
		}
	}
	if isNil(w.event) {
		return nil
	}
	return w
}

// EventOption is something that belongs to one event: [Delay], [At], [ID], a
// [Priority], a [Conflict], [Header] or [MaxAttempts].
type EventOption interface {
	applyEvent(*settings) error
}

type eventOption func(*settings) error

func (f eventOption) applyEvent(s *settings) error { return f(s) }

// settings are the options of one event.
type settings struct {
	id          string
	ownID       bool // chosen by the caller
	delay       time.Duration
	at          time.Time
	timed       bool // delay or at was given
	priority    Priority
	conflict    Conflict
	headers     map[string]string
	maxAttempts int // 0: the handler's
	inherited   bool
	err         error
}

// withOptions is an event with its options.
type withOptions struct {
	event any
	settings
}

// String tells the type of the event and nothing of what it holds.
func (w withOptions) String() string { return fmt.Sprintf("%T with options", w.event) }

// GoString is String.
func (w withOptions) GoString() string { return w.String() }

// Delay lets the event wait for d from when it is dispatched. The resolution is
// the dispatcher's, rounded up: a microsecond on Redis. Nothing ever fires early.
// Zero or less means now. Of several Delay and At the last one counts.
func Delay(d time.Duration) EventOption { return eventDelay(max(d, 0)) }

type eventDelay time.Duration

func (d eventDelay) applyEvent(s *settings) error {
	s.delay, s.at, s.timed = time.Duration(d), time.Time{}, true
	return nil
}

// At lets the event wait until t, by the clock of the dispatcher's backend. An
// instant in the past means now.
func At(t time.Time) EventOption {
	return eventOption(func(s *settings) error {
		if y := t.Year(); y > 9999 || y < 0 {
			return fmt.Errorf("At(%v): want a year up to 9999: %w", t, ErrOption)
		}
		s.delay, s.at, s.timed = 0, t, true
		return nil
	})
}

// ID names the event. While an event of the same topic and id waits or runs,
// and for the [WithDedupWindow] after it ended, a further one is refused with
// ErrDuplicate, so that repeating a dispatch is safe; a [Conflict] given with the
// further one says otherwise. An id is 1 to 255 bytes of UTF-8. Without it an
// event gets a [NewID].
func ID(id string) EventOption {
	return eventOption(func(s *settings) error {
		if err := driver.CheckName("id", id); err != nil {
			return fmt.Errorf("ID: %w: %w", err, ErrOption)
		}
		s.id, s.ownID = id, true
		return nil
	})
}

// NewID returns an id that no other event has: a UUID of version 7 (RFC 9562),
// whose text sorts by the time when it was made.
func NewID() string {
	return uuid.Must(uuid.NewV7()).String()
}

// Priority orders the due events of one topic and group: [High] before [Normal]
// before [Low], weighted 6 to 3 to 1 so that none is starved; those of one
// priority in the order of their due times.
type Priority int8

// The priorities. An event without one is Normal.
const (
	Low    = Priority(driver.Low)
	Normal = Priority(driver.Normal)
	High   = Priority(driver.High)
)

func (p Priority) applyEvent(s *settings) error {
	if p < Low || p > High {
		return fmt.Errorf("priority %d: want Low, Normal or High: %w", p, ErrOption)
	}
	s.priority = p
	return nil
}

// Conflict says how a dispatch meets an event of the same [ID]:
//
//	            it waits            it runs             it ended, window not over
//	KeepFirst   ErrDuplicate        ErrDuplicate        ErrDuplicate
//	Replace     gets the new one's  ErrDuplicate        a new event
//	            payload and time
//	PushBack    gets the new one's  ErrDuplicate        a new event
//	            time
//	RunAgain    ErrDuplicate        the new one waits   a new event
//	                                for its end; a
//	                                second one is
//	                                ErrDuplicate
//
// An event waits until its handler starts, and between its attempts. Where
// several groups have a copy, each copy is met for itself; the dispatch is
// accepted if it changed one.
//
// A debounce is Replace (the last payload) or PushBack (the first one), each time
// with the same delay; where ErrDuplicate says that the event runs at this
// moment, RunAgain has the new one run after it.
type Conflict uint8

const (
	// KeepFirst refuses the new event with ErrDuplicate. It is the default.
	KeepFirst = Conflict(driver.KeepFirst)
	// Replace gives the waiting event the new payload, time and priority.
	Replace = Conflict(driver.Replace)
	// PushBack gives the waiting event the new time and keeps its payload.
	PushBack = Conflict(driver.PushBack)
	// RunAgain keeps an event that waits (ErrDuplicate), but while one runs,
	// keeps the new one to run once more after it.
	RunAgain = Conflict(driver.RunAgain)
)

func (c Conflict) applyEvent(s *settings) error {
	if c > RunAgain {
		return fmt.Errorf("conflict %d: want KeepFirst, Replace, PushBack or RunAgain: %w", c, ErrOption)
	}
	s.conflict = c
	return nil
}

// Header adds a header that travels with the event and that handlers read with
// [DeliveryFrom]. Keys are 1 to 255 bytes; all headers together at most 16 KiB.
func Header(key, value string) EventOption {
	return eventOption(func(s *settings) error {
		if err := driver.CheckName("header key", key); err != nil {
			return fmt.Errorf("Header: %w: %w", err, ErrOption)
		}
		if s.headers == nil {
			s.headers = map[string]string{}
		}
		s.headers[key] = value
		size := 0
		for k, v := range s.headers {
			size += len(k) + len(v)
		}
		if size > maxHeaders {
			return fmt.Errorf("headers of %d bytes: want at most %d: %w", size, maxHeaders, ErrOption)
		}
		return nil
	})
}

const maxHeaders = 16 << 10

// The headers that a dispatch from inside a handler sets, unless the event has
// them: the id of the event being handled, and the id of the event with which
// it all began.
const (
	HeaderCausation   = "causation-id"
	HeaderCorrelation = "correlation-id"
)

// inherit adds the headers that tell where the event comes from.
func (s *settings) inherit(ctx context.Context) {
	if s.inherited {
		return
	}
	s.inherited = true
	parent, ok := DeliveryFrom(ctx)
	if !ok {
		return
	}
	correlation := parent.Headers[HeaderCorrelation]
	if correlation == "" {
		correlation = parent.ID
	}
	h := map[string]string{HeaderCausation: parent.ID, HeaderCorrelation: correlation}
	maps.Copy(h, s.headers)
	s.headers = h
}

// resolve returns the event behind what a caller dispatched, and its options
// complete with what the event itself says.
func resolve(ctx context.Context, event any) (any, settings, error) {
	w, ok := event.(withOptions)
	if !ok {
		w.event = event
	}
	if w.err != nil {
		return nil, settings{}, w.err
	}
	if w.conflict != KeepFirst && !w.ownID {
		return nil, settings{}, fmt.Errorf("%w: conflict mode of an event without an ID, which can meet no other", ErrOption)
	}
	if !w.timed {
		if d, ok := w.event.(DelayedEvent); ok {
			w.delay = max(d.Delayed(), 0)
		}
	}
	w.inherit(ctx)
	return w.event, w.settings, nil
}

// quoteName quotes a hostile or strange name, and leaves a plain one as it is.
func quoteName(s string) string {
	if q := strconv.Quote(s); len(q) != len(s)+2 {
		return q
	}
	return s
}
