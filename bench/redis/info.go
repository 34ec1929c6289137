package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// info is a connection that asks a server about itself.
type info struct{ conn redis.Conn }

func openInfo(ctx context.Context, url string) (info, error) {
	conn, err := redis.DialURLContext(ctx, url)
	return info{conn}, err
}

// commands returns how many commands the server has run, those in scripts
// included, and without those that ask and CONFIG.
func (i info) commands() (int, error) {
	text, err := redis.String(i.conn.Do("INFO", "commandstats"))
	if err != nil {
		return 0, err
	}
	sum := 0
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if !ok || name == "info" || name == "monitor" || strings.HasPrefix(name, "config") {
			continue
		}
		calls, _, _ := strings.Cut(rest, ",")
		n, err := strconv.Atoi(calls)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// memory returns how many bytes the server uses, without what it uses for its
// connections.
func (i info) memory() (int, error) {
	text, err := redis.String(i.conn.Do("INFO", "memory"))
	if err != nil {
		return 0, err
	}
	used, err := field(text, "used_memory")
	if err != nil {
		return 0, err
	}
	clients, err := field(text, "mem_clients_normal")
	return used - clients, err
}

func field(text, name string) (int, error) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, fmt.Errorf("INFO has no %s", name)
}

// countSent counts the commands that clients send to the server for a time, by
// MONITOR, which also shows those in scripts, but says so.
func countSent(ctx context.Context, url string, d time.Duration) (int, error) {
	conn, err := redis.DialURLContext(ctx, url)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := conn.Do("MONITOR"); err != nil {
		return 0, err
	}
	sent := 0
	for end := time.Now().Add(d); ; {
		line, err := redis.String(redis.ReceiveWithTimeout(conn, max(time.Until(end), time.Nanosecond)))
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return sent, nil
		case err != nil:
			return 0, err
		case !strings.Contains(line, " lua] "):
			sent++
		}
	}
}
