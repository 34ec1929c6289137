package fanfare

import (
	"errors"
	"strings"
	"testing"

	"github.com/fanfare-go/fanfare/driver"
)

// redisSlot is the slot of a key in a cluster: CRC16 of its hash tag.
func redisSlot(key string) uint16 {
	crc := uint16(0)
	for _, c := range []byte(hashTag(key)) {
		crc ^= uint16(c) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % 16384
}

func TestRedisSlot(t *testing.T) { // as CLUSTER KEYSLOT has it
	for key, want := range map[string]uint16{"123456789": 12739, "foo": 12182, "a{foo}b": 12182, "": 0} {
		if got := redisSlot(key); got != want {
			t.Errorf("redisSlot(%q) = %d, want %d", key, got, want)
		}
	}
}

// Queues have keys of their own, and all keys of a topic are in one slot.
func FuzzRedisKeys(f *testing.F) {
	for i, name := range awkwardNames {
		f.Add("fanfare", name, awkwardNames[(i+1)%len(awkwardNames)], "other", name)
	}
	f.Fuzz(func(t *testing.T, prefix, topic, group, topic2, group2 string) {
		if checkRedisPrefix(prefix) != nil {
			t.Skip()
		}
		one, two := driver.Queue{Topic: topic, Group: group}, driver.Queue{Topic: topic2, Group: group2}
		if checkRedisQueue(one) != nil || checkRedisQueue(two) != nil {
			t.Skip()
		}
		seen := map[string]bool{redisTopicsKey(prefix): true, redisMetaKey(prefix, topic): true}
		if len(seen) != 2 {
			t.Errorf("topic %q has the key of all topics", topic)
		}
		slot := redisSlot(redisMetaKey(prefix, topic))
		for _, key := range keysIn(newRedisKeys(prefix, one)) {
			if seen[key] {
				t.Errorf("%q has the key %q twice", one, key)
			}
			seen[key] = true
			if redisSlot(key) != slot {
				t.Errorf("%q is in slot %d, want %d", key, redisSlot(key), slot)
			}
		}
		for _, key := range append(keysIn(newRedisKeys(prefix, two)), redisMetaKey(prefix, topic2)) {
			if seen[key] && one != two && (topic != topic2 || key != redisMetaKey(prefix, topic)) {
				t.Errorf("%q and %q share the key %q", one, two, key)
			}
		}
	})
}

// What DialRedis takes it takes apart in one way, and its errors tell no secret.
func FuzzRedisAddress(f *testing.F) {
	for _, address := range []string{
		"localhost:6379", "[::1]:6379", "redis://user:hunter2@host:1/2", "rediss://:hunter2@host", "redis+unix:///tmp/s?db=3",
		"redis://host/x", "redis://[::1", "http://host", "://", "host:0", "redis://host?x=hunter2", "redis://us%zzhunter2@h",
	} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		network, addr, _, err := parseRedisAddress(address)
		if err != nil {
			if !errors.Is(err, driver.ErrInvalid) {
				t.Errorf("parseRedisAddress(%q) = %v, want ErrInvalid", address, err)
			}
			if strings.Contains(address, "hunter2") && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error shows a part of the address: %v", err)
			}
			return
		}
		if network != "tcp" && network != "unix" || addr == "" {
			t.Errorf("parseRedisAddress(%q) = %q, %q", address, network, addr)
		}
		if network == "tcp" {
			again, same, _, err := parseRedisAddress(addr)
			if err != nil || again != network || same != addr {
				t.Errorf("parseRedisAddress(%q), part of %q, = %q, %q, %v", addr, address, again, same, err)
			}
		}
	})
}

// Whatever a prefix is, it is taken or refused as an option, and nothing else.
func FuzzWithPrefix(f *testing.F) {
	for _, prefix := range append(awkwardNames, "a:b", strings.Repeat("x", 65)) {
		f.Add(prefix)
	}
	f.Fuzz(func(t *testing.T, prefix string) {
		c, err := newConfig(redisKind, []Option{WithPrefix(prefix)})
		if err != nil {
			if !errors.Is(err, ErrOption) {
				t.Errorf("WithPrefix(%q) = %v, want ErrOption", prefix, err)
			}
			return
		}
		if c.prefix != prefix || strings.ContainsAny(prefix, "{}*?[]\\ \r\n") {
			t.Errorf("WithPrefix(%q) was taken as %q", prefix, c.prefix)
		}
	})
}

// Whatever a server answers, it is read without a panic.
func FuzzRedisReply(f *testing.F) {
	f.Add("7:ab:2:1:0:99", "3:2:0:77:4:why:because", "a", []byte("body"), int64(1))
	f.Add("::::::", "9999999999999999999:1:1:1:-5:x", "", []byte(nil), int64(-1))
	f.Add(strings.Repeat("9", 99)+":::::", "1:1:1:1:9223372036854775807:x", "1", []byte("x"), int64(1)<<62)
	f.Fuzz(func(t *testing.T, state, info, text string, body []byte, n int64) {
		parseRedisState(state)
		var r driver.Record
		readRedisDead(&r, info)
		if len(r.Reason)+len(r.LastError) > len(info) {
			t.Errorf("readRedisDead(%q) = %q and %q, more than there was", info, r.Reason, r.LastError)
		}
		for _, reply := range []any{
			nil, text, n, []any{}, []any{n, n, n}, []any{n, text, n, text, state, body}, []any{text, nil, n}, []any{[]any{n}},
			[]any{n, n, n, text, state}, RedisError(text),
		} {
			if c, _, err := parseRedisClaim(reply); err == nil && len(c.Deliveries) > 2 {
				t.Errorf("parseRedisClaim(%v) = %+v", reply, c)
			}
			_, _ = redisInt(reply)
			if list, err := redisInts(reply, 2); err == nil && len(list) != 2 {
				t.Errorf("redisInts(%v) = %v", reply, list)
			}
			_, _ = parseRedisMeta(reply)
			_, _ = checkRedisLayout(text, reply)
		}
	})
}
