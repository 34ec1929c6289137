package main

import (
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"

	"github.com/fanfare-go/fanfare"
)

// The flaws that a client can give the dispatcher over it. An audit that finds
// nothing with them proves nothing without.
const (
	dropped   = "drop"    // one accepted event in a thousand is not stored
	tokenless = "id-only" // a claim is settled by the id of its event, whoever has it
	forgetful = "forget"  // ids that ended are not remembered
	twoSteps  = "two-steps"
)

// twoSteps takes an event away and gives it back for a retry in a second step,
// before which the process may die.

var flaws = []string{dropped, tokenless, forgetful, twoSteps}

func broken(c fanfare.RedisClient, flaw string) fanfare.RedisClient {
	if flaw == "" {
		return c
	}
	return brokenClient{c, flaw}
}

// brokenClient does to scripts what scripts must not do.
type brokenClient struct {
	fanfare.RedisClient
	flaw string
}

// Do implements fanfare.RedisClient.
func (c brokenClient) Do(ctx context.Context, args ...any) (any, error) {
	call, ok := parse(args)
	switch {
	case !ok:
	case call.settles() && c.flaw == tokenless:
		c.stealTokens(ctx, call)
	case call.settles() && c.flaw == twoSteps:
		c.takeRetries(ctx, call)
	case call.pushes() && c.flaw == forgetful:
		c.forget(ctx, call)
	case call.pushes() && c.flaw == dropped:
		reply, err := c.RedisClient.Do(ctx, args...)
		if err == nil {
			c.drop(ctx, call)
		}
		return reply, err
	}
	return c.RedisClient.Do(ctx, args...)
}

// call is the call of a script. keys and args are parts of the command.
type call struct{ keys, args []any }

func parse(command []any) (call, bool) {
	if name, _ := command[0].(string); name != "EVALSHA" && name != "EVAL" {
		return call{}, false
	}
	n, ok := command[2].(int)
	if !ok || 3+n > len(command) {
		return call{}, false
	}
	return call{command[3 : 3+n], command[3+n:]}, true
}

// key returns the first key of a kind, as rediskeys.go names it.
func (c call) key(kind string) string {
	for _, k := range c.keys {
		if name, _ := k.(string); strings.HasSuffix(name, ":"+kind) {
			return name
		}
	}
	return ""
}

// settles reports whether the script is settle.lua: it alone writes dead letters
// and leases.
func (c call) settles() bool { return c.key("di") != "" && c.key("l") != "" && c.key("u") != "" }

// pushes reports whether the script is push.lua.
func (c call) pushes() bool {
	return len(c.keys) > 1 && strings.HasSuffix(c.keys[0].(string), ":meta") && c.key("p") != "" && c.key("l") == ""
}

// settlements calls f with the places of the id and the token of each settlement
// among the arguments, and its verb.
func (c call) settlements(f func(id, token int, verb string)) {
	acks := c.args[1].(int)
	at := 2
	for range acks {
		f(at, at+1, "ack")
		at += 2
	}
	for ; at+6 < len(c.args); at += 7 {
		f(at+1, at+2, c.args[at].(string))
	}
}

func (c brokenClient) stealTokens(ctx context.Context, call call) {
	get := []any{"HMGET", call.key("s")}
	var tokens []int
	call.settlements(func(id, token int, _ string) {
		get, tokens = append(get, call.args[id]), append(tokens, token)
	})
	reply, _ := c.RedisClient.Do(ctx, get...)
	states, _ := reply.([]any)
	for i, state := range states {
		if state != nil {
			call.args[tokens[i]] = text(state)
		}
	}
}

func (c brokenClient) takeRetries(ctx context.Context, call call) {
	call.settlements(func(id, _ int, verb string) {
		if verb != "retry" {
			return
		}
		until, err := c.RedisClient.Do(ctx, "ZSCORE", call.key("l"), call.args[id])
		if err != nil || until == nil {
			return
		}
		if _, err := c.RedisClient.Do(ctx, "ZREM", call.key("l"), call.args[id]); err != nil {
			return
		}
		if rand.IntN(20) == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		_, _ = c.RedisClient.Do(ctx, "ZADD", call.key("l"), text(until), call.args[id])
	})
}

func (c brokenClient) forget(ctx context.Context, call call) {
	for _, k := range call.keys {
		if name, _ := k.(string); strings.HasSuffix(name, ":u") {
			_, _ = c.RedisClient.Do(ctx, "DEL", name)
		}
	}
}

func (c brokenClient) drop(ctx context.Context, call call) {
	for at := 2; at < len(call.args); at += 5 {
		if rand.IntN(1000) != 0 {
			continue
		}
		for _, k := range call.keys[1:] {
			switch name, _ := k.(string); name[strings.LastIndexByte(name, ':')+1:] {
			case "0", "1", "2":
				_, _ = c.RedisClient.Do(ctx, "ZREM", name, call.args[at])
			case "p":
				_, _ = c.RedisClient.Do(ctx, "HDEL", name, call.args[at])
			}
		}
	}
}
