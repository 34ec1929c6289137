package fanfare

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fanfare-go/fanfare/driver"
)

// redisQuestions are what a server is asked for its durability: the parameters
// by patterns, since Redis before 7 takes one at a time.
var redisQuestions = [][]any{
	{"CONFIG", "GET", "*append*"},
	{"CONFIG", "GET", "save"},
	{"CONFIG", "GET", "maxmemory*"},
	{"CONFIG", "GET", "min-replicas-*"},
	{"INFO", "memory"},
	{"INFO", "replication"},
}

// Durability asks the server for its configuration, in one round trip. CONFIG
// GET decides the level; INFO says of a server that refuses it whether it evicts.
func (b *redisBroker) Durability(ctx context.Context) (driver.Durability, error) {
	replies, err := b.pipeline(ctx, redisQuestions, false)
	if err != nil {
		return driver.Durability{}, err
	}
	s, err := parseRedisSettings(replies)
	if err != nil {
		return driver.Durability{}, err
	}
	found := driver.Durability{Replicas: b.replicas}
	say := func(level driver.DurabilityLevel, reasons ...string) {
		found.Level = level
		found.Reasons = append(found.Reasons, reasons...)
	}
	say(s.persistence())
	if reason, evicts := s.eviction(); evicts {
		say(driver.DurabilityNone, reason)
	} else if reason != "" {
		say(found.Level, reason)
	}
	say(found.Level, s.replication(b.replicas)...)
	return found, nil
}

// redisSettings is what a server told of its configuration.
type redisSettings struct {
	config  map[string]string
	info    map[string]string
	refused string // why CONFIG GET is, if it is
}

// parseRedisSettings returns an error where the server is not ready to answer.
func parseRedisSettings(replies []any) (redisSettings, error) {
	s := redisSettings{config: map[string]string{}, info: map[string]string{}}
	for i, reply := range replies {
		config := redisQuestions[i][0] == "CONFIG"
		if e, ok := reply.(RedisError); ok {
			err := redisRefusal(string(e))
			if errors.Is(err, driver.ErrUnavailable) && !errors.Is(err, driver.ErrDenied) {
				return s, err
			}
			if config {
				s.refused = redisRefusalText(e)
			}
			continue
		}
		if config {
			s.readConfig(reply)
		} else {
			s.readInfo(reply)
		}
	}
	return s, nil
}

// redisRefusalText is what the server says of a refusal, fit for a log.
func redisRefusalText(reply RedisError) string {
	var text RedisError
	errors.As(redisRefusal(string(reply)), &text)
	return string(text)
}

func (s *redisSettings) readConfig(reply any) {
	for r := newRedisReply(reply); r.more(); {
		name, value := r.text(), r.text()
		s.config[name] = cutRedisText(value, 64)
	}
}

func (s *redisSettings) readInfo(reply any) {
	r := &redisReply{values: []any{reply}}
	for line := range strings.Lines(r.text()) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			s.info[name] = cutRedisText(value, 64)
		}
	}
}

// persistence says what a crash of the server or of its machine loses.
func (s *redisSettings) persistence() (driver.DurabilityLevel, string) {
	appends, known := s.config["appendonly"]
	save, saves := s.config["save"]
	sync := s.config["appendfsync"]
	const better = "; better: appendonly yes, appendfsync always"
	switch {
	case s.refused != "":
		return driver.DurabilityUnknown, "CONFIG GET is refused (" + s.refused + "); if it is for lack of permission: +config|get +info"
	case !known || !saves:
		return driver.DurabilityUnknown, "CONFIG GET does not tell of appendonly and save"
	case appends != "yes" && save == "":
		return driver.DurabilityProcess, `appendonly no, save "": a crash of the server loses all` + better
	case appends != "yes":
		return driver.DurabilitySnapshot, "appendonly no, save " + save + ": a crash of the server loses all since the last snapshot" + better
	case sync == "everysec":
		return driver.DurabilitySeconds, "appendfsync everysec: a crash of the server loses about the last 2 s; better: appendfsync always"
	case sync == "no":
		return driver.DurabilitySnapshot, "appendfsync no: a crash of the machine loses about the last 30 s; better: appendfsync always"
	case sync != "always":
		return driver.DurabilityUnknown, "appendfsync " + sync + ": not known to this version of fanfare"
	case s.config["no-appendfsync-on-rewrite"] == "yes":
		return driver.DurabilitySnapshot, "appendfsync always, but no-appendfsync-on-rewrite yes: a crash of the machine during a rewrite loses about the last 30 s; better: no-appendfsync-on-rewrite no"
	}
	return driver.DurabilitySynced, "appendfsync always: a crash of the server loses nothing, nor does one of the machine if its disk keeps what it confirms"
}

// eviction reports whether the server throws away keys that do not expire, as
// ours, when memory is short; and which settings say so.
func (s *redisSettings) eviction() (reason string, evicts bool) {
	policy, limit := s.config["maxmemory-policy"], s.config["maxmemory"]
	if policy == "" {
		policy, limit = s.info["maxmemory_policy"], s.info["maxmemory"]
	}
	switch {
	case policy == "":
		return "nothing tells of maxmemory-policy: if it is allkeys-*, events may be thrown away", false
	case policy == "noeviction":
		return "", false
	case limit == "0":
		return "maxmemory-policy " + policy + ": of no effect while maxmemory is 0; better: noeviction", false
	case !strings.HasPrefix(policy, "allkeys-"):
		return "maxmemory-policy " + policy + ": may throw away locks, but no events; better: noeviction", false
	}
	return fmt.Sprintf("maxmemory-policy %s, maxmemory %s: events are thrown away when memory is short; needed: noeviction", policy, limit), true
}

// replication says what a failover loses, as far as it can be said. wanted is
// how many replicas a dispatch waits for.
func (s *redisSettings) replication(wanted int) []string {
	var reasons []string
	if n, err := strconv.Atoi(s.info["connected_slaves"]); err == nil && n < wanted {
		reasons = append(reasons, fmt.Sprintf("WithReplicas(%d), and %d connected: dispatches end with ErrUnknownOutcome", wanted, n))
	}
	least, lag := s.config["min-replicas-to-write"], s.config["min-replicas-max-lag"]
	if least != "" && least != "0" && lag != "0" {
		reasons = append(reasons, fmt.Sprintf("min-replicas-to-write %s, min-replicas-max-lag %s: a failover loses about the last %s s + 1 s", least, lag, lag))
	}
	return reasons
}
