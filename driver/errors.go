package driver

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Errors that a caller decides on. Brokers wrap them with what happened.
var (
	// ErrDuplicate reports that a message of the id waits or runs, or ended
	// within the window.
	ErrDuplicate = errors.New("duplicate event id")

	// ErrLeaseLost reports that a claim was settled after its lease had run
	// out and the message had gone to another consumer, or was purged.
	ErrLeaseLost = errors.New("lease lost")

	// ErrNotFound reports that there is no such message.
	ErrNotFound = errors.New("event not found")

	// ErrUnavailable reports that the backend could not be reached or was not
	// ready, and that nothing was changed.
	ErrUnavailable = errors.New("backend unavailable")

	// ErrUnknownOutcome reports that a request was sent and its answer was
	// lost: it may or may not have been carried out. Repeating it with the
	// same ids is safe.
	ErrUnknownOutcome = errors.New("outcome unknown")

	// ErrReadOnly reports that the backend is a replica that takes no writes.
	// It matches ErrUnavailable too.
	ErrReadOnly = fmt.Errorf("backend is read-only: %w", ErrUnavailable)

	// ErrDenied reports that the backend knows the caller and does not permit
	// what it asked for. It matches ErrUnavailable too.
	ErrDenied = fmt.Errorf("permission denied: %w", ErrUnavailable)

	// ErrFull reports that the backend is out of memory or space, and that
	// nothing was changed. What it holds is kept, and can still be claimed and
	// settled where that takes no space, as on Redis.
	ErrFull = errors.New("backend full")

	// ErrTooLarge reports a body over the limit. Nothing was sent.
	ErrTooLarge = errors.New("event too large")

	// ErrUnsupported reports an option or a verb that the backend lacks.
	ErrUnsupported = errors.New("not supported by this backend")

	// ErrInvalid reports an argument that no backend takes.
	ErrInvalid = errors.New("invalid argument")

	// ErrSchema reports that the stored layout is one this version does not know.
	ErrSchema = errors.New("stored by another version")
)

// MaxName is the greatest length of a topic, a group or an id, in bytes.
const MaxName = 255

// CheckName returns an error that matches ErrInvalid unless s is valid UTF-8 of
// 1 to MaxName bytes. kind ("topic", "group", "id") begins its text.
func CheckName(kind, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%s is empty: %w", kind, ErrInvalid)
	case len(s) > MaxName:
		return fmt.Errorf("%s of %d bytes, want at most %d: %w", kind, len(s), MaxName, ErrInvalid)
	case !utf8.ValidString(s):
		return fmt.Errorf("%s %q is not valid UTF-8: %w", kind, s, ErrInvalid)
	}
	return nil
}
