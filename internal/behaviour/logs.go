package behaviour

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"

	"github.com/fanfare-go/fanfare"
)

// Logs keeps what a dispatcher logs from level info on. The zero value is ready.
type Logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Option makes a dispatcher log to l.
func (l *Logs) Option() fanfare.Option {
	return fanfare.WithLogger(slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo})))
}

// Count returns how often s was logged.
func (l *Logs) Count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// String returns all that was logged.
func (l *Logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Write adds p to what was logged.
func (l *Logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
