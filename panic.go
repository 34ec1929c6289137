package fanfare

import "runtime/debug"

// guard calls f and returns its error, or a *PanicError if it panicked. If f
// ends its goroutine with runtime.Goexit, ended is called with a *PanicError
// while the goroutine unwinds.
func guard(f func() error, ended func(error)) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
			return
		}
		ended(&PanicError{Stack: debug.Stack()})
	}()
	err = f()
	returned = true
	return err
}
