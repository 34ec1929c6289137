package legacy_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/legacy"
)

func ExampleWorker() {
	wait := legacy.Worker()
	for failures := 1; failures <= 3; failures++ {
		fmt.Println(wait(failures))
	}
	// Output:
	// 2m0s
	// 4m0s
	// 8m0s
}

// span is what a schedule may answer for a number of failures.
type span struct {
	failures    int
	least, most time.Duration
}

func exactly(failures int, d time.Duration) span { return span{failures, d, d} }

func TestSchedules(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name    string
		backoff fanfare.Backoff
		want    []span
	}{
		{"Gevent", legacy.Gevent(), []span{
			exactly(1, time.Second), exactly(2, time.Second), exactly(3, time.Second),
			exactly(math.MaxInt, time.Second),
		}},
		{"Futurama", legacy.Futurama(), []span{
			{1, 250 * ms, 499 * ms},
			{2, 500 * ms, 999 * ms},
			{3, time.Second, 1999 * ms},
			{4, 2 * time.Second, 3999 * ms},
			{5, 4 * time.Second, 7999 * ms},
			{11, 256 * time.Second, 511_999 * ms},
			{12, 512 * time.Second, 10 * time.Minute},
			exactly(13, 10*time.Minute), exactly(18, 10*time.Minute),
			exactly(31, 10*time.Minute), exactly(32, 10*time.Minute), exactly(33, 10*time.Minute),
			exactly(64, 10*time.Minute), exactly(math.MaxInt, 10*time.Minute),
			{0, 250 * ms, 499 * ms},
			{math.MinInt, 250 * ms, 499 * ms},
		}},
		{"Worker", legacy.Worker(), []span{
			exactly(1, 2*time.Minute), exactly(2, 4*time.Minute), exactly(3, 8*time.Minute),
			exactly(4, 16*time.Minute), exactly(5, 32*time.Minute), exactly(6, 64*time.Minute),
			exactly(7, 128*time.Minute), exactly(8, 256*time.Minute), exactly(9, 512*time.Minute),
			exactly(10, 17*time.Hour+4*time.Minute), exactly(11, 17*time.Hour+4*time.Minute),
			exactly(13, 17*time.Hour+4*time.Minute), exactly(math.MaxInt, 17*time.Hour+4*time.Minute),
			exactly(0, 2*time.Minute), exactly(math.MinInt, 2*time.Minute),
		}},
		{"Linda", legacy.Linda(), []span{
			exactly(1, 5*time.Minute), exactly(2, 5*time.Minute), exactly(math.MaxInt, 5*time.Minute),
		}},
		{"Okq", legacy.Okq(), []span{exactly(1, 0), exactly(2, 0), exactly(math.MaxInt, 0)}},
	} {
		for _, want := range tt.want {
			for range 200 {
				got := tt.backoff(want.failures)
				if got < want.least || got > want.most || got%ms != 0 {
					t.Fatalf("%s()(%d) = %v, want %v to %v in whole milliseconds", tt.name, want.failures, got, want.least, want.most)
				}
			}
		}
	}
}

// The waits of futurama are spread over their whole span, also where the limit
// cuts it.
func TestFuturamaIsSpread(t *testing.T) {
	backoff := legacy.Futurama()
	for _, tt := range []struct {
		failures             int
		lowerHalf, upperHalf time.Duration // some wait is below the one and some above the other
	}{
		{1, 375 * time.Millisecond, 375 * time.Millisecond},
		{5, 6 * time.Second, 6 * time.Second},
		{12, 600 * time.Second, 599 * time.Second},
	} {
		below, above := 0, 0
		for range 1000 {
			switch d := backoff(tt.failures); {
			case d < tt.lowerHalf:
				below++
			case d >= tt.upperHalf:
				above++
			}
		}
		if below < 50 || above < 50 {
			t.Errorf("Futurama()(%d): %d of 1000 below %v and %d above, want both often", tt.failures, below, tt.lowerHalf, above)
		}
	}
}
