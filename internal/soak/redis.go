package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/soak/trial"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

var backend = trial.Backend{
	Name:     "redis",
	Modes:    []string{"always", "everysec", "no", "off"},
	ModeFlag: "aof",
	Flaws:    flaws,
	Slowest:  100 * time.Millisecond,
	Start:    start,
	Open:     open,
}

// start starts a Redis whose appendfsync is mode, or that persists nothing if
// that is off.
func start(_ context.Context, mode string) (*trial.Server, error) {
	args := []string{"--maxmemory-policy", "noeviction"}
	if mode != "off" {
		args = append(args, "--appendonly", "yes", "--appendfsync", mode, "--auto-aof-rewrite-min-size", "8mb") // so that a restart is short
	}
	i, err := testsvc.OpenRedis(args...)
	if err != nil {
		return nil, err
	}
	client, err := fanfare.DialRedis(i.URL)
	if err != nil {
		return nil, err
	}
	c := control{client}
	return &trial.Server{
		Instance: i,
		Address:  func(addr string) string { return "redis://" + addr + "/0" },
		Probe:    func(ctx context.Context) error { return c.do(ctx, "SET", probeKey, "1") },
		Cut:      func(ctx context.Context) error { return c.do(ctx, "CLIENT", "KILL", "TYPE", "normal") },
		Forget:   func(ctx context.Context) error { return c.do(ctx, "SCRIPT", "FLUSH") },
		Left:     c.left,
		Close: func() error {
			client.Close()
			return i.Close()
		},
	}, nil
}

const probeKey = "soak-probe"

// open opens a dispatcher whose client is broken by a flaw.
func open(address, flaw string, opts ...fanfare.Option) (*fanfare.Durable, func() error, error) {
	client, err := fanfare.DialRedis(address)
	if err != nil {
		return nil, nil, err
	}
	d, err := fanfare.NewRedis(broken(client, flaw), opts...)
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	return d, client.Close, nil
}

// control is the soak's own client.
type control struct{ client fanfare.RedisClient }

func (c control) do(ctx context.Context, args ...any) error {
	_, err := c.client.Do(ctx, args...)
	return err
}

// left lists the keys but those that say what topics, groups and consumers there
// are, the ids that ended, the tokens that wake, and the soak's own.
func (c control) left(ctx context.Context) ([]string, error) {
	var left []string
	for cursor := "0"; ; {
		reply, err := c.client.Do(ctx, "SCAN", cursor, "COUNT", 1000)
		if err != nil {
			return nil, err
		}
		page, ok := reply.([]any)
		if !ok || len(page) != 2 {
			return nil, fmt.Errorf("SCAN = %v", reply)
		}
		keys, _ := page[1].([]any)
		for _, k := range keys {
			if name := text(k); !harmless(name) {
				left = append(left, name)
			}
		}
		if cursor = text(page[0]); cursor == "0" {
			return left, nil
		}
	}
}

func harmless(key string) bool {
	if key == probeKey || strings.HasSuffix(key, ":topics") || strings.HasSuffix(key, ":meta") {
		return true
	}
	kind := key[strings.LastIndexByte(key, ':')+1:]
	return kind == "u" || kind == "c" || kind == "w"
}

func text(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
}
