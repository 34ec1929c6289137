package fanfare

import (
	"fmt"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// A step of a purge removes as many as it may, from all places in which they are.
func TestRedisPurgeSteps(t *testing.T) {
	for limit := 1; limit <= 9; limit++ {
		c := newCase(t, testsvc.Redis(t).URL)
		for i := range 2 {
			c.push(message(fmt.Sprint("running ", i)))
		}
		c.claim(2)
		for i := range 6 {
			c.push(driver.Message{ID: fmt.Sprint(i), Priority: driver.Priority(i%3 - 1), Delay: time.Hour})
		}
		for left := 8; left >= 0; left -= limit {
			n, err := c.runInt(t.Context(), purgeScript, c.keys().forPurge(), limit)
			if want := min(limit, left); err != nil || n != want {
				t.Fatalf("a step of %d with %d left removed %d, %v, want %d", limit, left, n, err, want)
			}
			if err := auditRedis(c.client, c.keys()); err != nil {
				t.Error(err)
			}
			if all, err := c.living(t.Context(), c.keys()); err != nil || all != max(left-limit, 0) {
				t.Errorf("%d are left, %v, want %d", all, err, max(left-limit, 0))
			}
		}
		if n, err := c.runInt(t.Context(), purgeScript, c.keys().forPurge(), limit); n != 0 || err != nil {
			t.Errorf("a step with nothing left removed %d, %v", n, err)
		}
	}
}
