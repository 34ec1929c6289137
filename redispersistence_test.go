package fanfare_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// What a Redis keeps that is killed, by how it is configured: the column
// "redis-server killed" of the README. Where it says that some of the last two
// seconds may be lost, what is older may not.
func TestWhatAKilledRedisKeeps(t *testing.T) {
	const old, fresh = 20, 30
	for name, tt := range map[string]struct {
		args        []string
		save        bool
		least, most int
	}{
		"nothing":      {args: nil},
		"snapshots":    {args: []string{"--save", "3600 1"}, save: true, least: old, most: old},
		"AOF everysec": {args: []string{"--appendonly", "yes", "--appendfsync", "everysec"}, least: old, most: old + fresh},
		"AOF always":   {args: []string{"--appendonly", "yes", "--appendfsync", "always"}, least: old + fresh, most: old + fresh},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testsvc.StartRedis(t, tt.args...)
			d := onRedis(t, s)
			dispatch := func(from, to int) {
				for n := from; n < to; n++ {
					require.NoError(t, number.Dispatch(t.Context(), d, n, fanfare.ID(fmt.Sprint(n))))
				}
			}
			dispatch(0, old)
			if tt.save {
				tell(t, s, "SAVE")
			}
			<-time.After(2 * time.Second)
			dispatch(old, old+fresh)
			s.Kill()
			s.Restart()
			d = onRedis(t, s)
			status, err := d.Status(t.Context(), number.Name())
			require.NoError(t, err)
			kept := 0
			if len(status) > 0 {
				kept = status[0].Ready
			}
			require.GreaterOrEqual(t, kept, tt.least)
			require.LessOrEqual(t, kept, tt.most)
			for n := range tt.least {
				_, err := d.Get(t.Context(), number.Name(), fmt.Sprint(n))
				require.NoError(t, err, n)
			}
			t.Logf("%d of %d kept", kept, old+fresh)
		})
	}
}
