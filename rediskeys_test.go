package fanfare

import (
	"errors"
	"math"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-go/fanfare/driver"
)

// awkwardNames are names that have a meaning in keys, patterns or encodings.
var awkwardNames = []string{
	"a", "order.paid", "A_b-c.9", "}x{", "{}", "{", "}", "a:b", "a:", ":a", "%", "%3A", "%25", "a b", "\n", "\x00",
	"..", "*", "?", "[a]", "\\", "ü", "😀", "meta", "topics", "0", "l", "default", strings.Repeat("x", driver.MaxName),
}

func TestEncodeRedisName(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"order.paid", "order.paid"},
		{"A_b-c.9", "A_b-c.9"},
		{"}x{", "%7Dx%7B"},
		{"a:b", "a%3Ab"},
		{"%3A", "%253A"},
		{"ü", "%C3%BC"},
		{"\x00", "%00"},
	} {
		if got := encodeRedisName(tt.name); got != tt.want {
			t.Errorf("encodeRedisName(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzEncodeRedisName(f *testing.F) {
	for _, name := range awkwardNames {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		encoded := encodeRedisName(name)
		if strings.ContainsAny(encoded, "{}: *?[]\\\n") {
			t.Errorf("encodeRedisName(%q) = %q, which has a byte with a meaning", name, encoded)
		}
		if got, err := url.PathUnescape(encoded); err != nil || got != name {
			t.Errorf("decoded %q = %q, %v, want %q", encoded, got, err, name)
		}
	})
}

// hashTag is the part of a key that says which slot it is in.
func hashTag(key string) string {
	_, rest, found := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(rest, "}")
	if !found || !closed || tag == "" {
		return key
	}
	return tag
}

// keysIn returns all keys in k.
func keysIn(k *redisKeys) []string {
	var keys []string
	for v, i := reflect.ValueOf(*k), 0; i < v.NumField(); i++ {
		if f := v.Field(i); f.Kind() == reflect.String {
			keys = append(keys, f.String())
		} else {
			keys = append(keys, k.lanes[:]...)
		}
	}
	return keys
}

func TestRedisKeysOfATopicShareASlotAndNoOthers(t *testing.T) {
	seen := map[string]string{redisTopicsKey("p"): "the topics"}
	note := func(key, of string) {
		if other, ok := seen[key]; ok {
			t.Errorf("key %q is of %s and of %s", key, of, other)
		}
		seen[key] = of
	}
	for _, topic := range awkwardNames {
		meta := redisMetaKey("p", topic)
		note(meta, "topic "+topic)
		for _, group := range awkwardNames {
			for _, key := range keysIn(newRedisKeys("p", driver.Queue{Topic: topic, Group: group})) {
				note(key, "queue "+topic+" / "+group)
				if hashTag(key) != hashTag(meta) {
					t.Errorf("key %q is not in the slot of %q", key, meta)
				}
			}
		}
	}
}

func TestCheckRedisPrefix(t *testing.T) {
	for _, tt := range []struct {
		prefix string
		ok     bool
	}{
		{"fanfare", true},
		{"a:b-c_d.9", true},
		{strings.Repeat("x", 64), true},
		{strings.Repeat("x", 65), false},
		{"", false},
		{"a b", false},
		{"{a}", false},
		{"a*", false},
		{"ü", false},
	} {
		if err := checkRedisPrefix(tt.prefix); (err == nil) != tt.ok || err != nil && !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("checkRedisPrefix(%q) = %v, want ok %t", tt.prefix, err, tt.ok)
		}
	}
}

func TestRedisMicros(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want int64
	}{
		{-time.Second, 0},
		{0, 0},
		{1, 1},
		{time.Microsecond, 1},
		{time.Microsecond + 1, 2},
		{time.Second, 1e6},
		{math.MaxInt64, math.MaxInt64/1000 + 1},
	} {
		if got := redisMicros(tt.d); got != tt.want {
			t.Errorf("redisMicros(%v) = %d, want %d", tt.d, got, tt.want)
		}
	}
}

func TestRedisInstant(t *testing.T) {
	for _, tt := range []struct {
		at   time.Time
		want int64
	}{
		{time.Time{}, 0},
		{time.Unix(-1, 0), 0},
		{time.Unix(1, 0), 1e6},
		{time.Unix(1, 1), 1e6 + 1},
		{time.Unix(1, 1000), 1e6 + 1},
		{time.Unix(1, 999_999_999), 2e6},
		{time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), redisMaxInstant},
		{time.Date(100_000, 1, 1, 0, 0, 0, 0, time.UTC), redisMaxInstant},
	} {
		if got := redisInstant(tt.at); got != tt.want {
			t.Errorf("redisInstant(%v) = %d, want %d", tt.at, got, tt.want)
		}
	}
}

func TestRedisDuration(t *testing.T) {
	if got := redisDuration(redisMaxInstant); got != math.MaxInt64 {
		t.Errorf("redisDuration of 8,000 years = %v, want the longest", got)
	}
	if got := redisDuration(1500); got != 1500*time.Microsecond {
		t.Errorf("redisDuration(1500) = %v, want 1.5ms", got)
	}
}

func TestParseRedisStateOfAnything(t *testing.T) {
	if got, want := parseRedisState("7:ab:2:1:0:99"), (redisState{7, 2, 1, 0, 99}); got != want {
		t.Errorf("parseRedisState = %+v, want %+v", got, want)
	}
	for _, s := range []string{"", ":::::", "x:y:z:1:2:3", "1:2", strings.Repeat("9", 99) + ":::::"} {
		parseRedisState(s) // does not panic
		var r driver.Record
		readRedisDead(&r, s)
	}
	var r driver.Record
	readRedisDead(&r, "3:2:0:77:4:why:because")
	if r.Attempts != 3 || r.Failures != 2 || r.Priority != driver.High || r.Reason != "why:" || r.LastError != "because" {
		t.Errorf("readRedisDead = %+v", r)
	}
	readRedisDead(&r, "3:2:0:77:4000:short")
	if r.Reason != "short" || r.LastError != "" {
		t.Errorf("readRedisDead with a length beyond the end = %+v", r)
	}
}
