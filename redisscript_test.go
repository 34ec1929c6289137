package fanfare

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

func TestRedisError(t *testing.T) {
	broken := errors.New("connection reset")
	for _, tt := range []struct {
		err    error
		writes bool
		want   error
	}{
		{RedisError("OOM command not allowed when used memory > 'maxmemory'."), true, driver.ErrFull},
		{RedisError("ERR Error running script (call to f_1): @user_script:5: @user_script: 5: -OOM command not allowed"), true, driver.ErrFull},
		{RedisError("READONLY You can't write against a read only replica."), true, driver.ErrReadOnly},
		{RedisError("READONLY You can't write against a read only replica."), true, driver.ErrUnavailable},
		{RedisError("LOADING Redis is loading the dataset in memory"), true, driver.ErrUnavailable},
		{RedisError("BUSY Redis is busy running a script."), true, driver.ErrUnavailable},
		{RedisError("MASTERDOWN Link with MASTER is down"), false, driver.ErrUnavailable},
		{RedisError("CLUSTERDOWN The cluster is down"), true, driver.ErrUnavailable},
		{RedisError("TRYAGAIN Multiple keys request during rehashing of slot"), true, driver.ErrUnavailable},
		{RedisError("MISCONF Errors writing to the AOF file"), true, driver.ErrUnavailable},
		{RedisError("ERR max number of clients reached"), true, driver.ErrUnavailable},
		{RedisError("WRONGTYPE Operation against a key holding the wrong kind of value"), true, RedisError("WRONGTYPE Operation against a key holding the wrong kind of value")},
		{fmt.Errorf("%w: no connection", driver.ErrUnavailable), true, driver.ErrUnavailable},
		{broken, true, driver.ErrUnknownOutcome},
		{broken, true, broken},
		{broken, false, driver.ErrUnavailable},
	} {
		if got := redisError(tt.err, tt.writes); !errors.Is(got, tt.want) {
			t.Errorf("redisError(%q, %t) = %v, want %v", tt.err, tt.writes, got, tt.want)
		}
	}
	if redisError(nil, true) != nil {
		t.Error("redisError(nil) is an error")
	}
	if err := redisError(broken, true); errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("%v matches ErrUnavailable, which says that nothing was changed", err)
	}
}

func TestRedisErrorTellsNoArguments(t *testing.T) {
	err := redisError(RedisError("ERR unknown command 'EVALSHA', with args beginning with: 'secret' "), true)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("error shows arguments: %v", err)
	}
	err = redisError(RedisError("ERR "+strings.Repeat("ü", 1<<20)), true)
	if n := len(err.Error()); n > 300 || !utf8.ValidString(err.Error()) {
		t.Errorf("error has %d bytes", n)
	}
}

func TestCutRedisText(t *testing.T) {
	for _, tt := range []struct {
		s    string
		n    int
		want string
	}{
		{"short", 10, "short"},
		{"äöü", 5, "äö"},
		{"äöü", 1, ""},
		{"a\xffb", 10, "a?b"},
		{"\x80\x80\x80", 2, "?"},
	} {
		got := cutRedisText(tt.s, tt.n)
		if len(got) > tt.n || !utf8.ValidString(got) || got != tt.want && tt.want != "?" {
			t.Errorf("cutRedisText(%q, %d) = %q, want %q", tt.s, tt.n, got, tt.want)
		}
	}
}

func TestScriptsAreLoadedAgain(t *testing.T) {
	c := newCase(t, testsvc.Redis(t).URL)
	flush := func() { c.do("SCRIPT", "FLUSH") }
	c.push(message("a"), message("b"))
	flush()
	c.push(message("c"))
	flush()
	ds := c.claim(3)
	flush()
	if _, err := c.Extend(t.Context(), c.q, "c", time.Minute, []driver.Receipt{ds[0].Receipt}); err != nil {
		t.Error(err)
	}
	flush()
	c.ack(ds...)
	flush()
	if _, err := c.Status(t.Context(), "one", "two", c.q.Topic); err != nil { // a pipeline
		t.Error(err)
	}
}

// Each command of a script must be a constant that redisACL permits.
func TestScriptsUsePermittedCommands(t *testing.T) {
	call := regexp.MustCompile(`(?:redis\.call|\bcall)\(\s*('(\w+)'|\w+)`)
	for _, s := range []*redisScript{
		pushScript, updateScript, leaseScript, endScript, extendScript, settleScript, cancelScript, rescheduleScript,
		requeueScript, deleteDeadScript, purgeScript, forgetScript, subscribeScript, resumeScript, statusScript,
		listScript, getScript,
	} {
		name, _, _ := strings.Cut(strings.TrimPrefix(s.source, "-- "), " ")
		for _, m := range call.FindAllStringSubmatch(s.source, -1) {
			command := strings.ToLower(m[2])
			if m[1] == "command" { // a function that calls what it is given
				continue
			}
			if command == "" || !strings.Contains(redisACL+" ", " +"+command+" ") {
				t.Errorf("%s: %s is not in redisACL", name, m[0])
			}
		}
	}
}
