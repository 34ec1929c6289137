package local

import "time"

// afterFuncs is a time.AfterFunc for each event, without bounds.
type afterFuncs struct {
	handle func(event)
	timers []*time.Timer
}

func scheduleAfterFunc(capacity int, handle func(event)) (scheduler, error) {
	return &afterFuncs{handle, make([]*time.Timer, 0, capacity)}, nil
}

func (s *afterFuncs) schedule(e event, delay time.Duration) error {
	s.timers = append(s.timers, time.AfterFunc(delay, func() { s.handle(e) }))
	return nil
}

func (s *afterFuncs) withdraw() (left int, err error) {
	for _, t := range s.timers {
		if t.Stop() {
			left++
		}
	}
	return left, nil
}
