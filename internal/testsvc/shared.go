package testsvc

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared is a server that is started when it is first asked for.
type shared struct {
	kind kind

	once   sync.Once
	server *Server
	err    error
}

// get returns the server, or the one that the variable of its kind names.
func (s *shared) get(tb testing.TB) *Server {
	tb.Helper()
	if raw := os.Getenv(s.kind.variable()); raw != "" {
		addr, url, err := s.kind.foreign(raw)
		if err != nil {
			tb.Fatalf("testsvc: %s: %v", s.kind.variable(), err)
		}
		return &Server{Addr: addr, URL: url}
	}
	s.once.Do(func() { s.server, s.err = start(s.kind, s.kind.fast) })
	if s.err != nil {
		s.kind.giveUp(tb, s.err)
	}
	return s.server
}

// stop ends the server if it was ever started; it is not started after that.
func (s *shared) stop() {
	s.once.Do(func() { s.err = errors.New("asked for after the tests ended") })
	if s.server == nil {
		return
	}
	if err := s.server.discard(); err != nil {
		fmt.Fprintf(os.Stderr, "testsvc: %s: %v\n", s.kind.name, err)
	}
}
