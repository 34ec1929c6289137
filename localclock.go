package fanfare

import (
	"sync"
	"sync/atomic"
	"time"
)

// pulse counts milliseconds while somebody follows it, so that not every event
// of a flood has to read the clock, which takes longer than all else that its
// dispatch does.
type pulse struct {
	beats    atomic.Uint64
	beating  atomic.Bool
	followed atomic.Bool // since the last beat

	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

// pulseLength is the time from one beat to the next.
const pulseLength = time.Millisecond

func (p *pulse) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.followed.Store(true)
	switch {
	case p.ended || p.beating.Swap(true):
	case p.timer == nil:
		p.timer = time.AfterFunc(pulseLength, p.beat)
	default:
		p.timer.Reset(pulseLength)
	}
}

// beat ends what was read since the last one. The pulse stops when nobody
// followed it.
func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beats.Add(1)
	if p.ended || !p.followed.Swap(false) {
		p.beating.Store(false)
		return
	}
	p.timer.Reset(pulseLength)
}

func (p *pulse) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.beats.Add(1)
	p.beating.Store(false)
}

// stamps tells when the events of a lane were dispatched. Where more than about
// 300,000 come in a second, one reading of the clock is for up to 64 of them, as
// long as the pulse does not beat.
type stamps struct {
	read int64  // see Local.now
	beat uint64 // of the pulse, at that time
	left int    // how many more events were dispatched then
	near int    // how often the clock was read soon after the last time
}

const (
	stampsOfOne = 64
	soon        = 200 * time.Microsecond
	oftenSoon   = 64
)

func (s *stamps) next(l *Local) int64 {
	if s.left > 0 && s.beat == l.pulse.beats.Load() {
		s.left--
		return s.read
	}
	return s.look(l)
}

func (s *stamps) look(l *Local) int64 {
	beat := l.pulse.beats.Load() // before it is known to beat: the end is a beat too
	now := l.now()
	last := s.read
	s.read, s.left = now, 0
	switch {
	case now-last > int64(soon):
		s.near = 0
	case s.near < oftenSoon:
		s.near++
	case l.pulse.beating.Load():
		l.pulse.followed.Store(true)
		s.beat, s.left = beat, stampsOfOne-1
	default:
		l.pulse.begin()
	}
	return now
}
