package fanfare

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// guard calls f and returns its error, which can be asked for its text and what
// it wraps, or a *PanicError if something of that panicked. If f ends its goroutine with runtime.Goexit, ended is called with a *PanicError
// while the goroutine unwinds.
func guard(f func() error, ended func(error)) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			err = sound(&PanicError{Value: v, Stack: debug.Stack()})
			return
		}
		ended(&PanicError{Stack: debug.Stack()})
	}()
	err = f()
	returned = true
	return sound(err)
}

// sound returns err, or an error in its place if its methods panic, as those of a
// nil pointer in an error may.
func sound(err error) (result error) {
	if err == nil {
		return nil
	}
	defer func() {
		if recover() != nil {
			result = &PanicError{Value: fmt.Sprintf("methods of the error panic: %T", err), Stack: debug.Stack()}
		}
	}()
	_ = err.Error()
	var discarded *discardError
	_ = errors.Is(err, ErrDecode) || errors.As(err, &discarded)
	return err
}
