package sqlqueue

import (
	"fmt"
	"regexp"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// Option changes what New and Migrate do.
type Option func(*options) error

type options struct {
	prefix   string
	window   time.Duration
	poll     time.Duration
	listener Listener
}

func newOptions(opts []Option) (options, error) {
	o := options{prefix: "fanfare_", window: time.Minute, poll: 50 * time.Millisecond}
	for _, opt := range opts {
		if opt == nil {
			return o, fmt.Errorf("sqlqueue: nil option: %w", driver.ErrInvalid)
		}
		if err := opt(&o); err != nil {
			return o, err
		}
	}
	return o, nil
}

var validPrefix = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// WithPrefix sets what the names of all tables begin with: 1 to 40 of a to z,
// 0 to 9 and _, not beginning with a digit. Brokers with different prefixes do
// not know of each other. The default is "fanfare_". An error matches
// driver.ErrInvalid.
func WithPrefix(prefix string) Option {
	return func(o *options) error {
		if !validPrefix.MatchString(prefix) {
			return fmt.Errorf("sqlqueue: table prefix %.50q, want %v: %w", prefix, validPrefix, driver.ErrInvalid)
		}
		o.prefix = prefix
		return nil
	}
}

// WithDedupWindow sets for how long the id of an event is refused after the
// event ended, from 0 to 30 days. The default is 60 s.
func WithDedupWindow(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 || d > 30*24*time.Hour {
			return fmt.Errorf("sqlqueue: dedup window %v, want 0 to 720h: %w", d, driver.ErrInvalid)
		}
		o.window = d
		return nil
	}
}

// WithPollInterval sets how often a consumer that waits looks for what other
// processes dispatched, from 1 ms to 1 h. The default is 50 ms: 20 small queries
// a second for each queue that is handled here and idle. While a [Listener]
// listens, nothing is polled.
func WithPollInterval(d time.Duration) Option {
	return func(o *options) error {
		if d < time.Millisecond || d > time.Hour {
			return fmt.Errorf("sqlqueue: poll interval %v, want 1ms to 1h: %w", d, driver.ErrInvalid)
		}
		o.poll = d
		return nil
	}
}
