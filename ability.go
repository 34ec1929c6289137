package fanfare

import (
	"errors"
	"fmt"
)

// ability returns the broker of d as one that can do what A says, or
// ErrUnsupported, or ErrStopped if d has stopped and its connections with it.
func ability[A any](d *Durable, verb string) (A, error) {
	a, ok := d.broker.(A)
	if !ok {
		return a, fmt.Errorf("%s: %w", verb, ErrUnsupported)
	}
	if d.owned != nil && d.isStopping() { // the connections are or will be closed
		return a, fmt.Errorf("%s: %w", verb, ErrStopped)
	}
	return a, nil
}

// joinByID joins the errors that belong to ids.
func joinByID(ids []string, errs []error) error {
	var all []error
	for i, err := range errs {
		if err != nil {
			all = append(all, fmt.Errorf("%s: %w", quoteName(ids[i]), err))
		}
	}
	return errors.Join(all...)
}
