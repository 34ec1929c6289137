package testsvc

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// A server that someone else runs is named by what a user of the library
// writes. These return its address, with the default port unless raw has one,
// and raw in the form of Server.URL.

func foreignRedis(raw string) (addr, dsn string, err error) {
	addr, err = urlAddr(raw, "6379")
	return addr, raw, err
}

// foreignMariaDB takes a DSN with tcp(host:port), or a URL that it turns into
// one.
func foreignMariaDB(raw string) (addr, dsn string, err error) {
	const port = "3306"
	if strings.Contains(raw, "://") {
		if addr, err = urlAddr(raw, port); err != nil {
			return "", "", err
		}
		u, err := url.Parse(raw)
		if err != nil {
			return "", "", err
		}
		return addr, mariadbDSN(u, addr), nil
	}
	_, rest, ok := strings.Cut(raw, "@tcp(")
	host, _, closed := strings.Cut(rest, ")")
	if !ok || !closed || host == "" {
		return "", "", errors.New("want a DSN with @tcp(host:port)")
	}
	addr, err = urlAddr("mysql://"+host, port)
	return addr, raw, err
}

func mariadbDSN(u *url.URL, addr string) string {
	user := u.User.Username()
	if password, ok := u.User.Password(); ok {
		user += ":" + password
	}
	dsn := user + "@tcp(" + addr + ")/" + strings.TrimPrefix(u.Path, "/")
	if u.RawQuery != "" {
		dsn += "?" + u.RawQuery
	}
	return dsn
}

// foreignPostgres takes a URL, or keywords: host=… port=….
func foreignPostgres(raw string) (addr, dsn string, err error) {
	const port = "5432"
	if strings.Contains(raw, "://") {
		addr, err = urlAddr(raw, port)
		return addr, raw, err
	}
	values := map[string]string{"port": port}
	for _, field := range strings.Fields(raw) {
		key, value, _ := strings.Cut(field, "=")
		values[key] = value
	}
	if values["host"] == "" {
		return "", "", errors.New("no host")
	}
	return net.JoinHostPort(values["host"], values["port"]), raw, nil
}

// urlAddr keeps raw out of its errors, which may show a password.
func urlAddr(raw, port string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("not a URL: %w", errors.Unwrap(err))
	}
	if u.Hostname() == "" {
		return "", errors.New("no host")
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}
