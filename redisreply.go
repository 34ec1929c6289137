package fanfare

import (
	"fmt"
	"strconv"
	"strings"
)

// redisReply reads the values of an array reply one after the other. Where
// there is none, or one of another type, it keeps the first error and goes on
// with zero values.
type redisReply struct {
	values []any
	err    error
}

func newRedisReply(v any) *redisReply {
	values, ok := v.([]any)
	if !ok {
		return &redisReply{err: fmt.Errorf("redis: unexpected reply: a %T, want an array", v)}
	}
	return &redisReply{values: values}
}

func (r *redisReply) more() bool { return r.err == nil && len(r.values) > 0 }

func (r *redisReply) next() any {
	if len(r.values) == 0 {
		r.fail("too few values")
		return nil
	}
	v := r.values[0]
	r.values = r.values[1:]
	return v
}

func (r *redisReply) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("redis: unexpected reply: %s", what)
	}
}

// int reads an integer, which may be written as a string.
func (r *redisReply) int() int64 {
	switch v := r.next().(type) {
	case int64:
		return v
	case string:
		return r.parse(v)
	case []byte:
		return r.parse(string(v))
	default:
		r.fail(fmt.Sprintf("a %T, want an integer", v))
		return 0
	}
}

func (r *redisReply) parse(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		r.fail("a string, want an integer")
	}
	return n
}

// bytes reads a string.
func (r *redisReply) bytes() []byte {
	switch v := r.next().(type) {
	case string:
		return []byte(v)
	case []byte:
		return v
	default:
		r.fail(fmt.Sprintf("a %T, want a string", v))
		return nil
	}
}

func (r *redisReply) text() string { return string(r.bytes()) }

// redisInt reads a reply that is one integer.
func redisInt(v any) (int64, error) {
	r := &redisReply{values: []any{v}}
	n := r.int()
	return n, r.err
}

// redisInts reads a reply of n integers.
func redisInts(v any, n int) ([]int64, error) {
	r := newRedisReply(v)
	if r.err == nil && len(r.values) != n {
		r.fail(fmt.Sprintf("%d values, want %d", len(r.values), n))
	}
	list := make([]int64, 0, n)
	for r.more() {
		list = append(list, r.int())
	}
	return list, r.err
}

// redisState is a claimed message's state, which is its token, or what is left
// of that while the message waits: "fence:nonce:attempts:failures:lane:due".
type redisState struct {
	fence, attempts, failures, lane, due int64
}

// parseRedisState returns zeros for what is not a state.
func parseRedisState(s string) redisState {
	f := strings.Split(s, ":")
	if len(f) != 6 {
		return redisState{lane: 1}
	}
	n := func(i int) int64 {
		v, _ := strconv.ParseInt(f[i], 10, 64)
		return v
	}
	return redisState{fence: n(0), attempts: n(2), failures: n(3), lane: n(4), due: n(5)}
}
