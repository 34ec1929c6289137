package fanfare

import (
	"context"
	"time"

	"github.com/gomodule/redigo/redis"
)

// redisConn is what a connection of redigo's can do.
type redisConn interface {
	redis.ConnWithTimeout
	redis.ConnWithContext
}

// redigoConn runs commands in the goroutine of the caller, where redigo starts one
// for each that has a context.
type redigoConn struct{ redisConn }

// DoContext runs a command. If ctx ends before there is an answer, the connection
// is of no use any more.
func (c *redigoConn) DoContext(ctx context.Context, command string, args ...any) (any, error) {
	timeout := time.Duration(0) // none
	if until, ok := ctx.Deadline(); ok {
		if timeout = time.Until(until); timeout <= 0 {
			c.Close()
			return nil, context.DeadlineExceeded
		}
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	reply, err := c.DoWithTimeout(timeout, command, args...)
	if !stop() {
		return nil, ctx.Err()
	}
	return reply, err
}
