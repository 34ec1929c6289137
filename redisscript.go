package fanfare

import (
	"context"
	"crypto/sha1"
	_ "embed" // the scripts
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/fanfare-go/fanfare/driver"
)

// The scripts. Each is described where it stands.
var (
	//go:embed lua/push.lua
	pushLua string
	//go:embed lua/update.lua
	updateLua string
	//go:embed lua/choose.lua
	chooseLua string
	//go:embed lua/lease.lua
	leaseLua string
	//go:embed lua/end.lua
	endLua string
	//go:embed lua/extend.lua
	extendLua string
	//go:embed lua/settle.lua
	settleLua string
	//go:embed lua/cancel.lua
	cancelLua string
	//go:embed lua/reschedule.lua
	rescheduleLua string
	//go:embed lua/requeue.lua
	requeueLua string
	//go:embed lua/deletedead.lua
	deleteDeadLua string
	//go:embed lua/purge.lua
	purgeLua string
	//go:embed lua/forget.lua
	forgetLua string
	//go:embed lua/subscribe.lua
	subscribeLua string
	//go:embed lua/resume.lua
	resumeLua string
	//go:embed lua/status.lua
	statusLua string
	//go:embed lua/list.lua
	listLua string
	//go:embed lua/get.lua
	getLua string
	//go:embed lua/wake.lua
	wakeLua string
)

var (
	pushScript       = newRedisScript(pushLua)
	updateScript     = newRedisScript(updateLua)
	leaseScript      = harmlessRedisScript(chooseLua + leaseLua)
	endScript        = newRedisScript(chooseLua + endLua)
	extendScript     = newRedisScript(extendLua)
	settleScript     = newRedisScript(settleLua)
	cancelScript     = newRedisScript(cancelLua)
	rescheduleScript = newRedisScript(rescheduleLua)
	requeueScript    = newRedisScript(requeueLua)
	deleteDeadScript = newRedisScript(deleteDeadLua)
	purgeScript      = newRedisScript(purgeLua)
	forgetScript     = newRedisScript(forgetLua)
	subscribeScript  = newRedisScript(subscribeLua)
	resumeScript     = newRedisScript(resumeLua)
	statusScript     = harmlessRedisScript(statusLua)
	listScript       = harmlessRedisScript(listLua)
	getScript        = harmlessRedisScript(getLua)
	wakeScript       = harmlessRedisScript(wakeLua)
)

// redisScript is a constant script that the server knows by its SHA-1 once it
// has run it.
type redisScript struct {
	source, sha string
	harmless    bool // when its answer is lost: it only reads, or takes leases, which run out
}

func newRedisScript(source string) *redisScript {
	sum := sha1.Sum([]byte(source))
	return &redisScript{source: source, sha: hex.EncodeToString(sum[:])}
}

func harmlessRedisScript(source string) *redisScript {
	s := newRedisScript(source)
	s.harmless = true
	return s
}

// do runs the script on a client. Keys go before args.
func (s *redisScript) do(ctx context.Context, c RedisClient, keys []string, args []any) (any, error) {
	cmd := s.command(keys, args)
	reply, err := c.Do(ctx, cmd...)
	if isRedisNoScript(err) {
		cmd[0], cmd[1] = "EVAL", s.source
		reply, err = c.Do(ctx, cmd...)
	}
	return reply, err
}

// run runs a script. Keys go before args.
func (b *redisBroker) run(ctx context.Context, s *redisScript, keys []string, args ...any) (any, error) {
	reply, err := s.do(ctx, b.client, keys, args)
	return reply, redisInTime(ctx, redisError(err, !s.harmless))
}

// runEach runs a script once for each list of keys, in one round trip.
func (b *redisBroker) runEach(ctx context.Context, s *redisScript, keys [][]string) ([]any, error) {
	cmds := make([][]any, len(keys))
	for i := range keys {
		cmds[i] = s.command(keys[i], nil)
	}
	replies, err := b.pipeline(ctx, cmds, !s.harmless)
	if err != nil {
		return nil, err
	}
	for i, r := range replies {
		e, ok := r.(RedisError)
		switch {
		case ok && isRedisNoScript(e):
			if replies[i], err = b.run(ctx, s, keys[i]); err != nil {
				return nil, err
			}
		case ok:
			return nil, redisError(e, !s.harmless)
		}
	}
	return replies, nil
}

// pipeline runs commands in one round trip and makes sure that there is a reply
// to each.
func (b *redisBroker) pipeline(ctx context.Context, cmds [][]any, writes bool) ([]any, error) {
	replies, err := b.client.Pipeline(ctx, cmds)
	if err != nil {
		return nil, redisInTime(ctx, redisError(err, writes))
	}
	if len(replies) != len(cmds) {
		return nil, redisError(fmt.Errorf("%d replies to %d commands", len(replies), len(cmds)), writes)
	}
	return replies, nil
}

func (s *redisScript) command(keys []string, args []any) []any {
	cmd := make([]any, 0, 3+len(keys)+len(args))
	cmd = append(cmd, "EVALSHA", s.sha, len(keys))
	for _, k := range keys {
		cmd = append(cmd, k)
	}
	return append(cmd, args...)
}

func isRedisNoScript(err error) bool {
	var e RedisError
	return errors.As(err, &e) && strings.HasPrefix(string(e), "NOSCRIPT")
}

// redisRefusals says what the first word of an error reply means.
var redisRefusals = map[string]error{
	"OOM":         driver.ErrFull,
	"READONLY":    driver.ErrReadOnly,
	"NOPERM":      driver.ErrDenied,
	"LOADING":     driver.ErrUnavailable,
	"BUSY":        driver.ErrUnavailable,
	"MASTERDOWN":  driver.ErrUnavailable,
	"CLUSTERDOWN": driver.ErrUnavailable,
	"TRYAGAIN":    driver.ErrUnavailable,
	"MISCONF":     driver.ErrUnavailable,
	"NOREPLICAS":  driver.ErrUnavailable,
	"UNBLOCKED":   driver.ErrUnavailable,
	"NOAUTH":      driver.ErrUnavailable,
	"WRONGPASS":   driver.ErrUnavailable,
}

// redisError classifies an error of a client. writes says that the command, if
// it was carried out, changed something.
func redisError(err error, writes bool) error {
	var reply RedisError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &reply):
		return redisRefusal(string(reply))
	case errors.Is(err, driver.ErrUnavailable):
		return fmt.Errorf("redis: %w", err)
	case writes:
		return fmt.Errorf("redis: %w: %w", driver.ErrUnknownOutcome, err)
	default:
		return fmt.Errorf("redis: %w: %w", driver.ErrUnavailable, err)
	}
}

// redisRefusal is the error for an error reply. The server's text is data: it is cut
// short, and without the arguments that Redis repeats of unknown commands.
func redisRefusal(text string) error {
	// Redis before 7 wraps the error of a command in a script:
	// "ERR Error running script (call to f_...): @user_script:5: -OOM command ...".
	if i := strings.Index(text, ": -"); i >= 0 && strings.HasPrefix(text, "ERR Error running script") {
		text = text[i+len(": -"):]
	}
	text, _, _ = strings.Cut(text, ", with args beginning with")
	text = cutRedisText(text, 200)
	word, _, _ := strings.Cut(text, " ")
	kind := redisRefusals[word]
	if strings.Contains(text, "max number of clients") {
		kind = driver.ErrUnavailable
	}
	if kind == nil {
		return fmt.Errorf("redis: %w", RedisError(text))
	}
	return fmt.Errorf("redis: %w: %w", kind, RedisError(text))
}

// cutRedisText returns the beginning of s as valid UTF-8 of at most n bytes.
func cutRedisText(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "?")
}
