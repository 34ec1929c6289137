package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/internal/soak/audit"
	"github.com/fanfare-go/fanfare/internal/soak/trial"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

func TestMain(m *testing.M) {
	if trial.IsChild() {
		os.Exit(trial.RunChild(backend))
	}
	os.Exit(m.Run())
}

// short is a soak of the given time.
func short(t *testing.T, d time.Duration) trial.Config {
	t.Helper()
	testsvc.StartRedis(t) // or the test is skipped
	c := trial.DefaultConfig(backend)
	c.Time, c.Dir, c.Backlog, c.Output = d, t.TempDir(), 1000, t.Output()
	return c
}

func run(t *testing.T, c trial.Config) audit.Report {
	t.Helper()
	report, err := trial.Run(t.Context(), backend, c)
	if err != nil {
		t.Fatal(err)
	}
	report.Print(t.Output())
	return report
}

func TestNothingIsLost(t *testing.T) {
	r := run(t, short(t, 15*time.Second))
	if f := r.Failures(); len(f) > 0 {
		t.Errorf("the soak finds: %s", strings.Join(f, "; "))
	}
	if r.Accepted < 1000 || r.Faults[audit.Kill] == 0 || r.Faults[audit.Down] == 0 {
		t.Errorf("%d accepted under faults %v, want a soak", r.Accepted, r.Faults)
	}
}

// TestAuditFinds soaks what is broken.
func TestAuditFinds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		flaw   string
		mode   string
		faults []string
		often  float64
		long   int
		time   time.Duration
		found  func(r audit.Report) int
	}{
		{"a dropped push", dropped, "always", nil, 1, 0, 3 * time.Second,
			func(r audit.Report) int { return r.Lost }},
		{"forgotten ids", forgetful, "always", nil, 1, 0, 3 * time.Second,
			func(r audit.Report) int { return r.AcceptedTwice }},
		{"a retry in two steps", twoSteps, "always", []string{"handler"}, 1, 3, 4 * time.Second,
			func(r audit.Report) int { return r.Lost }},
		{"settling by id", tokenless, "always", []string{"freeze"}, 4, 200, 12 * time.Second,
			func(r audit.Report) int { return r.Extra[audit.Unexplained] }},
		{"no persistence", "", "off", []string{"kill-server"}, 4, 0, 4 * time.Second,
			func(r audit.Report) int { return r.Lost }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := short(t, tt.time)
			c.Flaw, c.Mode, c.Faults, c.Often, c.Long = tt.flaw, tt.mode, tt.faults, tt.often, tt.long
			c.Drain = 5 * time.Second // what is broken may go on for ever
			r := run(t, c)
			if tt.found(r) == 0 || len(r.Failures()) == 0 {
				t.Errorf("the audit finds %v, and not what is broken", r.Failures())
			}
		})
	}
}
