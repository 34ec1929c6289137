package trial

import (
	"math"
	"slices"
	"time"
)

// Spread adds the percentiles of what was measured to a sample: "p50", "p99" and
// "max", in unit. There must be at least one.
func (s Sample) Spread(measured []time.Duration, unit time.Duration) {
	slices.Sort(measured)
	at := func(p float64) float64 {
		i := int(math.Ceil(p*float64(len(measured)))) - 1
		return float64(measured[max(i, 0)]) / float64(unit)
	}
	s["p50"], s["p99"], s["max"] = at(0.5), at(0.99), at(1)
}
