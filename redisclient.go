package fanfare

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fanfare-go/fanfare/driver"
	"github.com/gomodule/redigo/redis"
)

// RedisClient runs commands on a Redis server. Implementations are safe for
// concurrent use, keep no connection to themselves between calls, and return
// by the deadline of the context.
//
// Arguments are string, []byte, int or int64; replies are nil, int64, string,
// []byte or []any of them, and a hash is a list of fields and values. What an
// error says about the command decides what is safe afterwards:
//
//   - it matches driver.ErrUnavailable: nothing was sent
//   - it is a [RedisError]: the server refused the command
//   - any other: the command was sent and its answer is not known
type RedisClient interface {
	// Do runs one command; its name is args[0]. Commands that block, such as
	// BLPOP, must be left to block until the deadline of ctx.
	Do(ctx context.Context, args ...any) (any, error)

	// Pipeline runs commands in order, on one connection, and returns one reply
	// for each. The error reply of one command stands in its place as a RedisError.
	Pipeline(ctx context.Context, cmds [][]any) ([]any, error)

	// Close closes what the client itself opened.
	Close() error
}

// RedisError is an error reply of the server, e.g. "OOM command not allowed".
type RedisError string

func (e RedisError) Error() string { return string(e) }

// Limits of a connection that DialRedis makes, and of calls without a deadline.
const (
	redisDialTimeout = time.Second
	redisCallTimeout = 5 * time.Second
	redisIdleTimeout = 5 * time.Minute
	redisMaxIdle     = 64

	// A call that ran into its deadline speaks against the server only if it
	// had at least this time to be answered.
	redisSilence = time.Second

	// Commands are sent in pipelines of this size, so that what is sent fits
	// in the buffers between here and there and sending does not block.
	redisPipeline = 64
)

// RedigoPool returns a client that runs its commands on connections of p. The
// pool stays the caller's: Close does not close it. Its connections should
// have a write timeout, and no read timeout (or one above 5 s), because calls
// are bounded by contexts.
func RedigoPool(p *redis.Pool) RedisClient {
	return &redigoClient{pool: p, detached: true}
}

// DialRedis returns a client with its own pool of connections to the server at
// address: "host:port", or a URL redis://[[user]:password@]host[:port][/db],
// rediss:// for TLS, or redis+unix://[[user]:password@]/path[?db=n] for a socket. It
// checks the address but does not connect. The options come after those that
// the address stands for.
//
// The pool has no greatest size, since a limit could keep a process from
// renewing its leases. After a connection failed, those that were idle by then
// are not used again: a restart of the server costs one failed call.
func DialRedis(address string, opts ...redis.DialOption) (RedisClient, error) {
	network, addr, dial, err := parseRedisAddress(address)
	if err != nil {
		return nil, fmt.Errorf("DialRedis: %w", err)
	}
	dial = append(dial,
		redis.DialConnectTimeout(redisDialTimeout),
		redis.DialTLSHandshakeTimeout(redisDialTimeout),
		redis.DialWriteTimeout(redisCallTimeout))
	dial = append(dial, opts...)

	c := &redigoClient{owned: true}
	c.pool = &redis.Pool{
		MaxIdle:     redisMaxIdle,
		IdleTimeout: redisIdleTimeout,
		DialContext: func(ctx context.Context) (redis.Conn, error) {
			return dialRedigo(ctx, network, addr, dial)
		},
		TestOnBorrow: func(_ redis.Conn, returned time.Time) error {
			if failed := c.failed.Load(); failed != nil && !returned.After(*failed) {
				return errRedisDistrusted
			}
			return nil
		},
	}
	return c, nil
}

var errRedisDistrusted = errors.New("connection is older than the last failure")

// parseRedisAddress returns what to dial. Its errors show nothing of address,
// which may have a password in it.
func parseRedisAddress(address string) (network, addr string, opts []redis.DialOption, err error) {
	if !strings.Contains(address, "://") {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || !isRedisPort(port) {
			return "", "", nil, fmt.Errorf("address is not host:port or a redis:// URL: %w", driver.ErrInvalid)
		}
		return "tcp", address, nil, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", "", nil, fmt.Errorf("address is not a valid URL: %w", driver.ErrInvalid)
	}
	db := strings.TrimPrefix(u.Path, "/")
	switch u.Scheme {
	case "redis", "rediss":
		network, addr = "tcp", redisHostPort(u)
		opts = append(opts, redis.DialUseTLS(u.Scheme == "rediss"))
		if u.RawQuery != "" {
			return "", "", nil, fmt.Errorf("URL has a query, which has no meaning: %w", driver.ErrInvalid)
		}
	case "redis+unix":
		network, addr = "unix", u.Path
		db = u.Query().Get("db")
	default:
		return "", "", nil, fmt.Errorf("URL scheme is not redis, rediss or redis+unix: %w", driver.ErrInvalid)
	}
	if addr == "" {
		return "", "", nil, fmt.Errorf("URL has no valid host, port or path: %w", driver.ErrInvalid)
	}
	if db != "" {
		n, err := strconv.ParseUint(db, 10, 16)
		if err != nil {
			return "", "", nil, fmt.Errorf("database is not a number: %w", driver.ErrInvalid)
		}
		opts = append(opts, redis.DialDatabase(int(n)))
	}
	return network, addr, append(opts, redisCredentials(u.User)...), nil
}

// redisHostPort returns the address in u with the port 6379 if it has none, or
// "" if it is not valid.
func redisHostPort(u *url.URL) string {
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "6379"
	}
	if host == "" || !isRedisPort(port) {
		return ""
	}
	return net.JoinHostPort(host, port)
}

func isRedisPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

func redisCredentials(u *url.Userinfo) []redis.DialOption {
	if u == nil {
		return nil
	}
	password, ok := u.Password()
	if !ok {
		return []redis.DialOption{redis.DialPassword(u.Username())}
	}
	return []redis.DialOption{redis.DialUsername(u.Username()), redis.DialPassword(password)}
}

// dialRedigo connects, and gives up when ctx ends or after redisDialTimeout,
// also in a TLS handshake, which redigo does not bind to the context.
func dialRedigo(ctx context.Context, network, addr string, opts []redis.DialOption) (redis.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, redisDialTimeout)
	return detachRedigo(ctx, cancel, func() (redis.Conn, error) {
		conn, err := redis.DialContext(ctx, network, addr, opts...)
		if err != nil {
			return nil, err
		}
		return &redigoConn{conn.(redisConn)}, nil
	})
}

// detachRedigo returns what open returns, or the context's error if that is earlier.
// A connection that comes too late is closed. cancel is called when open is done.
func detachRedigo(ctx context.Context, cancel context.CancelFunc, open func() (redis.Conn, error)) (redis.Conn, error) {
	type opened struct {
		conn redis.Conn
		err  error
	}
	result := make(chan opened)
	go func() { // ends when open does, which has time limits of its own
		defer cancel()
		conn, err := open()
		select {
		case result <- opened{conn, err}:
		case <-ctx.Done():
			if err == nil {
				conn.Close()
			}
		}
	}()
	select {
	case r := <-result:
		return r.conn, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// redigoClient is a RedisClient on a pool of redigo's.
type redigoClient struct {
	pool     *redis.Pool
	owned    bool
	detached bool // the pool's functions may not know contexts

	failed atomic.Pointer[time.Time] // when a connection failed last
}

func (c *redigoClient) Do(ctx context.Context, args ...any) (any, error) {
	name, err := redigoCommand(args)
	if err != nil {
		return nil, err
	}
	var reply any
	err = c.with(ctx, func(ctx context.Context, conn redis.Conn) error {
		var err error
		reply, err = redis.DoContext(conn, ctx, name, args[1:]...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

func (c *redigoClient) Pipeline(ctx context.Context, cmds [][]any) ([]any, error) {
	for _, cmd := range cmds {
		if _, err := redigoCommand(cmd); err != nil {
			return nil, err
		}
	}
	replies := make([]any, 0, len(cmds))
	err := c.with(ctx, func(ctx context.Context, conn redis.Conn) error {
		for len(cmds) > 0 {
			n := min(len(cmds), redisPipeline)
			some, err := redigoPipeline(ctx, conn, cmds[:n])
			if err != nil {
				return err
			}
			replies, cmds = append(replies, some...), cmds[n:]
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return replies, nil
}

func redigoCommand(args []any) (string, error) {
	if len(args) > 0 {
		if name, ok := args[0].(string); ok && name != "" {
			return name, nil
		}
	}
	return "", fmt.Errorf("%w: command without a name", driver.ErrUnavailable)
}

func redigoPipeline(ctx context.Context, conn redis.Conn, cmds [][]any) ([]any, error) {
	for _, cmd := range cmds {
		name, _ := cmd[0].(string)
		if err := conn.Send(name, cmd[1:]...); err != nil {
			return nil, err
		}
	}
	reply, err := redis.DoContext(conn, ctx, "") // flushes and receives all
	if err != nil {
		return nil, err
	}
	replies, _ := reply.([]any)
	if len(replies) != len(cmds) {
		return nil, fmt.Errorf("%d replies to %d commands", len(replies), len(cmds))
	}
	for i, r := range replies {
		if e, ok := r.(redis.Error); ok {
			replies[i] = RedisError(e)
		}
	}
	return replies, nil
}

// with runs fn with a connection and a context that has a deadline, returns the
// connection and names the error as RedisClient wants it.
func (c *redigoClient) with(ctx context.Context, fn func(context.Context, redis.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, redisCallTimeout)
		defer cancel()
	}
	conn, err := c.conn(ctx)
	if err != nil {
		return fmt.Errorf("%w: no connection: %w", driver.ErrUnavailable, err)
	}
	defer conn.Close()

	start := time.Now()
	err = fn(ctx, conn)
	var reply redis.Error
	if errors.As(err, &reply) {
		c.part(conn, string(reply))
		return RedisError(reply)
	}
	switch {
	case err == nil:
		return nil
	case conn.Err() == nil: // it failed before the connection was used
		return fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
	case errors.Is(ctx.Err(), context.Canceled): // that is no fault of the server
	case !redisEnded(ctx) || time.Since(start) >= redisSilence:
		c.distrust()
	}
	return err
}

// part gives conn up if reply, an error, says that it is of no use any more: it
// leads to a replica, or the server closes it. Else the pool would hand it out, and
// the outcome of the command sent on it would be unknown.
func (c *redigoClient) part(conn redis.Conn, reply string) {
	switch {
	case strings.HasPrefix(reply, "READONLY"), strings.HasPrefix(reply, "UNBLOCKED"):
		c.distrust()
	case !strings.Contains(reply, "max number of clients"):
		return
	}
	discardRedigo(conn)
}

// conn returns a connection of the pool by the deadline of ctx.
func (c *redigoClient) conn(ctx context.Context) (redis.Conn, error) {
	if c.pool == nil {
		return nil, errors.New("nil pool")
	}
	if !c.detached {
		return c.pool.GetContext(ctx)
	}
	return detachRedigo(ctx, func() {}, func() (redis.Conn, error) { return c.pool.GetContext(ctx) })
}

// distrust makes the pool drop the connections that are idle now.
func (c *redigoClient) distrust() {
	now := time.Now()
	c.failed.Store(&now)
}

// discardRedigo breaks conn, so that the pool closes it instead of keeping it: redigo
// does so when it is given a context whose deadline has passed.
func discardRedigo(conn redis.Conn) {
	ctx, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancel()
	_, _ = redis.DoContext(conn, ctx, "PING")
}

func (c *redigoClient) Close() error {
	if !c.owned {
		return nil
	}
	return c.pool.Close()
}
