package fanfare

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// redisAudit looks at the raw keys of a queue for what contradicts itself.
type redisAudit struct {
	stored map[string]any // by key
	bad    []error
}

// auditRedis returns an error unless every message of a queue is in exactly one
// place with all that belongs to it, and nothing else is kept but ended ids.
func auditRedis(c RedisClient, k *redisKeys) error {
	hashes := []string{k.bodies, k.states, k.errors, k.kept, k.deadBodies, k.deadInfo}
	zsets := append(k.lanes[:], k.leases, k.dead)
	cmds := [][]any{{"LLEN", k.wake}}
	for _, key := range hashes {
		cmds = append(cmds, []any{"HGETALL", key})
	}
	for _, key := range zsets {
		cmds = append(cmds, []any{"ZRANGE", key, 0, -1, "WITHSCORES"})
	}
	replies, err := c.Pipeline(context.Background(), cmds)
	if err != nil {
		return err
	}
	a := &redisAudit{stored: map[string]any{}}
	for i, cmd := range cmds {
		a.stored[cmd[1].(string)] = replies[i]
	}
	a.living(k)
	a.dead(k)
	if n := a.stored[k.wake]; n != int64(0) && n != int64(1) {
		a.fail("%v tokens to wake", n)
	}
	return errors.Join(a.bad...)
}

// living requires that what waits or runs is in one place.
func (a *redisAudit) living(k *redisKeys) {
	bodies, states := a.pairs(k.bodies), a.pairs(k.states)
	places := map[string]string{}
	for lane, key := range k.lanes {
		for id, due := range a.pairs(key) {
			a.place(places, id, fmt.Sprint("lane ", lane))
			a.waits(id, states[id], lane, due)
		}
	}
	for id := range a.pairs(k.leases) {
		a.place(places, id, "leases")
		a.owned(id, states[id])
	}
	for id := range bodies {
		if places[id] == "" {
			a.fail("%q has a body and no place", id)
		}
	}
	for id, place := range places {
		if _, ok := bodies[id]; !ok {
			a.fail("%q in %s has no body", id, place)
		}
	}
	for name, of := range map[string]map[string]string{"state": states, "error": a.pairs(k.errors), "kept": a.pairs(k.kept)} {
		for id := range of {
			if _, ok := bodies[id]; !ok {
				a.fail("%q has %s and no body", id, name)
			}
		}
	}
	for id := range a.pairs(k.errors) {
		if parseRedisState(states[id]).failures == 0 {
			a.fail("%q has an error and no failure", id)
		}
	}
}

func (a *redisAudit) fail(format string, args ...any) {
	a.bad = append(a.bad, fmt.Errorf(format, args...))
}

func (a *redisAudit) place(places map[string]string, id, place string) {
	if other := places[id]; other != "" {
		a.fail("%q is in %s and in %s", id, other, place)
	}
	places[id] = place
}

// waits requires that the state of a message that waits, if it has one, says where.
func (a *redisAudit) waits(id, state string, lane int, due string) {
	if s := parseRedisState(state); state != "" && (s.lane != int64(lane) || fmt.Sprint(s.due) != due || s.fence == 0) {
		a.fail("%q waits in lane %d until %s with the state %q", id, lane, due, state)
	}
}

// owned requires that a claimed message has a token: a state with a nonce.
func (a *redisAudit) owned(id, state string) {
	f := strings.Split(state, ":")
	if s := parseRedisState(state); len(f) != 6 || f[1] == "" || s.fence == 0 || s.attempts == 0 {
		a.fail("%q is claimed with the state %q", id, state)
	}
}

// dead requires that a dead letter has all that belongs to it.
func (a *redisAudit) dead(k *redisKeys) {
	died, bodies, infos := a.pairs(k.dead), a.pairs(k.deadBodies), a.pairs(k.deadInfo)
	for id := range died {
		if _, ok := bodies[id]; !ok || infos[id] == "" {
			a.fail("dead %q has no body or no info", id)
		}
	}
	if len(bodies) != len(died) || len(infos) != len(died) {
		a.fail("%d dead, %d bodies and %d infos", len(died), len(bodies), len(infos))
	}
}

// pairs reads a hash or a zset.
func (a *redisAudit) pairs(key string) map[string]string {
	pairs := map[string]string{}
	r := newRedisReply(a.stored[key])
	for r.more() {
		name := r.text()
		pairs[name] = r.text()
	}
	if r.err != nil {
		a.fail("%s: %w", key, r.err)
	}
	return pairs
}
