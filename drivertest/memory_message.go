package drivertest

import (
	"bytes"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// message is one group's copy of a message.
type message struct {
	id       string
	body     []byte // shared by the copies, never written to
	priority driver.Priority
	order    int64 // of its push among all pushes
	due      time.Time

	state driver.State
	at    time.Time // its place in the line of its state: due time, end of lease, or burial

	attempts  int
	failures  int
	lastError string
	reason    string

	// token is that of the latest claim. It stays valid when the lease runs out,
	// until the message is claimed again or otherwise touched.
	token string
	// ended is the token of the claim that was settled last.
	ended string
	// successor is what RunAgain keeps until this message ends.
	successor *message
}

// waits reports that m is not claimed. A message whose lease ran out waits.
func (m *message) waits() bool { return m.state == driver.Ready || m.state == driver.Delayed }

func (m *message) holds(r driver.Receipt) bool { return r.Token != "" && r.Token == m.token }

func (m *message) delivery(fence int64) driver.Delivery {
	return driver.Delivery{
		Receipt:  driver.Receipt{ID: m.id, Token: m.token, Fence: fence},
		Body:     bytes.Clone(m.body),
		Priority: m.priority,
		Due:      m.due,
		Attempt:  m.attempts,
		Failures: m.failures,
	}
}

func (m *message) record(q driver.Queue) driver.Record {
	return driver.Record{
		ID:        m.id,
		Queue:     q,
		State:     m.state,
		Priority:  m.priority,
		Attempts:  m.attempts,
		Failures:  m.failures,
		Time:      m.at,
		LastError: m.lastError,
		Reason:    m.reason,
		Body:      bytes.Clone(m.body),
	}
}

// dueTime is the later of now + delay and at. It is never before now.
func dueTime(now time.Time, delay time.Duration, at time.Time) time.Time {
	return later(now.Add(max(delay, 0)), at)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
