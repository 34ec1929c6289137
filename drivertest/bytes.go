package drivertest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/fanfare-go/fanfare/driver"
)

var bytesPromises = []promise{
	{"bodies come back as they were", bytesBodies},
	{"bodies are shown as they were", bytesShown},
	{"a caller may reuse the buffer of a body", bytesReused},
	{"a handler may write to the body it was given", bytesOwned},
	{"reason and error come back as they were", bytesErrors},
}

// bodies returns the ones that backends may get wrong.
func (c *trial) bodies() map[string][]byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	random := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{}).Read(random)
	bodies := map[string][]byte{
		"nil":     nil,
		"empty":   {},
		"NUL":     {0},
		"newline": []byte("\n"),
		"spaces":  []byte("  x  "),
		"JSON":    []byte(`{"n":9007199254740993,"s":"\u0000"}`),
		"number":  []byte("-0"),
		"null":    []byte("null"),
		"quotes":  []byte(`'";--\`),
		"UTF-16":  {0xff, 0xfe, 0, 0xd8},
		"all":     all,
		"random":  random,
		"long":    []byte(strings.Repeat("long ", 10_000)),
	}
	for name, b := range bodies {
		if c.caps.MaxBody > 0 && len(b) > c.caps.MaxBody {
			delete(bodies, name)
		}
	}
	return bodies
}

func bytesBodies(c *trial) {
	bodies := c.bodies()
	for id, b := range bodies {
		c.accept(driver.Message{ID: id, Body: b})
	}
	for _, d := range c.take(len(bodies)) {
		c.same(d.ID, d.Body, bodies[d.ID])
		c.end(d, driver.Retry)
	}
	for _, d := range c.take(len(bodies)) {
		c.same(d.ID, d.Body, bodies[d.ID])
	}
}

func (c *trial) same(id string, got, want []byte) {
	c.Helper()
	if !bytes.Equal(got, want) {
		c.Errorf("body %s of %d bytes is %.40q, want %d bytes, %.40q", id, len(got), got, len(want), want)
	}
}

func bytesShown(c *trial) {
	inspector := ability[driver.Inspector](c)
	bodies := c.bodies()
	for id, b := range bodies {
		c.accept(driver.Message{ID: id, Body: b})
		r, err := inspector.Get(c.Context(), c.queue, id)
		c.must(err)
		c.same(id, r.Body, b)
	}
	for _, r := range c.list(inspector, driver.Waiting, 0, 2*len(bodies)) {
		c.same(r.ID, r.Body, bodies[r.ID])
	}
}

func bytesReused(c *trial) {
	body := []byte("before")
	c.accept(driver.Message{ID: "a", Body: body})
	copy(body, "after ")
	c.body("a", "before")
}

func bytesOwned(c *trial) {
	c.accept(plain("a"))
	for _, v := range []driver.Verb{driver.Retry, driver.Release, driver.Ack} {
		d := c.body("a", "body of a")
		clear(d.Body)
		c.end(d, v)
	}
}

func bytesErrors(c *trial) {
	inspector := ability[driver.Inspector](c)
	for i, text := range []string{"", " ", "a\nb\x00c\t", "'\";--\\ %s {} ✗ 😀", strings.Repeat("long ", 100)} {
		id := fmt.Sprint(i)
		c.accept(driver.Message{ID: id})
		c.must(c.settle(driver.Settlement{Receipt: c.one(id).Receipt, Verb: driver.Bury, Reason: text, Error: text}))
		r, err := inspector.Get(c.Context(), c.queue, id)
		c.must(err)
		if r.Reason != text || r.LastError != text {
			c.Errorf("reason = %q, error = %q, want %q", r.Reason, r.LastError, text)
		}
	}
}
