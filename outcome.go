package fanfare

import (
	"errors"
	"fmt"
	"time"
)

// RetryIn returns an error that a handler returns to have the event tried again
// in d, whatever its [Backoff] says. It counts as a failed attempt. err may be nil.
func RetryIn(d time.Duration, err error) error {
	return &retryError{in: max(d, 0), err: err}
}

// RetryAt is like [RetryIn] with an instant, by the clock of the dispatcher's backend.
func RetryAt(t time.Time, err error) error {
	return &retryError{at: t, err: err}
}

// Discard returns an error that a handler returns to have the event not tried
// again: it goes to the dead letters, or to [WithOnDrop] in process. err may be nil.
func Discard(err error) error {
	return &discardError{err: err}
}

type retryError struct {
	in  time.Duration
	at  time.Time
	err error
}

func (e *retryError) Error() string {
	when := "in " + e.in.String()
	if !e.at.IsZero() {
		when = "at " + e.at.Format(time.RFC3339Nano)
	}
	if e.err == nil {
		return "retry " + when
	}
	return fmt.Sprintf("retry %s: %v", when, e.err)
}

func (e *retryError) Unwrap() error { return e.err }

type discardError struct{ err error }

func (e *discardError) Error() string {
	if e.err == nil {
		return "discarded"
	}
	return "discarded: " + e.err.Error()
}

func (e *discardError) Unwrap() error { return e.err }

// PanicError is the error of a handler that panicked, or ended its goroutine
// with runtime.Goexit.
type PanicError struct {
	Value any    // of the panic; nil for Goexit
	Stack []byte // of the handler's goroutine
}

func (e *PanicError) Error() string {
	if e.Value == nil {
		return "handler ended its goroutine"
	}
	return fmt.Sprintf("handler panicked: %v", e.Value)
}

// Unwrap returns Value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// The reasons for which an event is given up, as dead letters and [Dropped] have them.
const (
	ReasonExhausted   = "exhausted"   // its attempts are used up
	ReasonDiscarded   = "discarded"   // its handler returned Discard
	ReasonUndecodable = "undecodable" // it does not decode
	ReasonPoison      = "poison"      // its lease ran out ten times: who took it died, froze or was cut off
	ReasonStopped     = "stopped"     // in process: the dispatcher stopped before it was due
)

// verdict is what follows from a handler's return.
type verdict struct {
	outcome outcome
	delay   time.Duration
	at      time.Time
	reason  string
}

type outcome uint8

const (
	done outcome = iota
	retry
	dead
	release // as if it had not been tried
)

// judge decides about an event whose handler returned err. failures counts the
// earlier ones.
func judge(err error, failures, maxAttempts int, backoff Backoff) verdict {
	if err == nil {
		return verdict{outcome: done}
	}
	var discarded *discardError
	if errors.As(err, &discarded) {
		return verdict{outcome: dead, reason: ReasonDiscarded}
	}
	if errors.Is(err, ErrDecode) {
		return verdict{outcome: dead, reason: ReasonUndecodable}
	}
	if maxAttempts != Unlimited && failures+1 >= maxAttempts {
		return verdict{outcome: dead, reason: ReasonExhausted}
	}
	var chosen *retryError
	if errors.As(err, &chosen) {
		return verdict{outcome: retry, delay: chosen.in, at: chosen.at}
	}
	return verdict{outcome: retry, delay: backoff.after(failures + 1)}
}
