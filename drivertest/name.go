package drivertest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fanfare-go/fanfare/driver"
)

var namePromises = []promise{
	{"ids are kept apart whatever is in them", nameIDs},
	{"topics are kept apart whatever is in them", nameTopics},
	{"groups are kept apart whatever is in them", nameGroups},
	{"topic and group are not joined", nameJoined},
	{"a name that is empty or too long or not UTF-8 is invalid", nameInvalid},
	{"consumers may have any name", nameConsumers},
}

// hostile returns names of at most 160 bytes that have a meaning to backends, or
// are equal to others under some rule.
func hostile() []string {
	return []string{
		"a:b", "a::b", ":", "::", "a:", ":a", "a.b", "a/b", "/", ".", "..", "../..", "a|b", "a,b", "a#b", "a-b", "a_b",
		"{", "}", "{}", "{a}", "}{", "}x{", "{a}b", "{{a}}", "*", "?", "a*", "a?", "[a-z]", "[^a]", `\`, `\*`,
		" ", "  ", "a b", " a", "a ", "\n", "\r\n", "a\n", "\t", "\x00", "a\x00", "\x00a", "a\x00b", "\x7f", "\u0085", "\u2028",
		"%", "%s", "%d", "%00", "%3A", "%25", "+", "&", "=", "a=b", "'", "''", `"`, "`", ";", "--", "$1", ":a:", "@a",
		"😀", "é", "e\u0301", "ß", "ss", "İ", "A", "a", "ª", "\ufeff", "\ufffd", "\u202e",
		"0", "00", "-1", "1e3", "null", "nil", "true", "NaN", "inf", "default", "DEFAULT", "ready", "dead",
		strings.Repeat("long", 40), strings.Repeat("long", 39) + "lonG", strings.Repeat("😀", 40),
	}
}

// longest returns names of the greatest length that begin with prefix: two that
// differ in the last byte alone, and one of long runes.
func longest(prefix string) []string {
	fill := strings.Repeat("x", driver.MaxName-1-len(prefix))
	runes := strings.Repeat("😀", (driver.MaxName-len(prefix))/4)
	return []string{prefix + fill + "y", prefix + fill + "z", prefix + runes}
}

func nameIDs(c *trial) {
	names := append(hostile(), longest("")...)
	for _, id := range names {
		c.accept(driver.Message{ID: id, Body: []byte(id)})
	}
	seen := map[string]bool{}
	for _, d := range c.take(len(names)) {
		if seen[d.ID] || string(d.Body) != d.ID {
			c.Errorf("claimed %q, seen before: %t, with the body %q", d.ID, seen[d.ID], d.Body)
		}
		seen[d.ID] = true
		c.end(d, driver.Ack)
	}
	c.drained()
	for _, id := range names {
		if c.caps.UniqueID {
			c.refuse(driver.Message{ID: id}, driver.ErrDuplicate)
		}
	}
}

// apart pushes a message to each queue, and requires that it comes from there
// and from no other.
func (c *trial) apart(qs []driver.Queue) {
	c.Helper()
	of := func(q driver.Queue) *trial {
		t := c.in(q.Topic)
		t.queue.Group = q.Group
		return t
	}
	for _, q := range qs {
		c.must(c.b.Subscribe(c.Context(), q))
	}
	for _, q := range qs {
		of(q).accept(driver.Message{ID: "a", Body: fmt.Appendf(nil, "%q", q)})
	}
	for _, q := range qs {
		t := of(q)
		d := t.body("a", fmt.Sprintf("%q", q))
		t.nothing()
		t.end(d, driver.Ack)
		t.ended()
	}
}

func nameTopics(c *trial) {
	var qs []driver.Queue
	queue := func(topic string) { qs = append(qs, driver.Queue{Topic: topic, Group: driver.DefaultGroup}) }
	base := c.queue.Topic[len(c.queue.Topic)-26:]
	queue(base)
	for _, name := range hostile() {
		queue(base + name)
		queue(name + base)
	}
	for _, name := range longest(base) {
		queue(name)
	}
	for _, suffix := range []string{":ready", ":due", ":dead", ":body", ":lease", ":done", ":w", ":r", ":l", ":default", ":groups"} {
		queue(base + suffix)
	}
	c.apart(qs)
}

func nameGroups(c *trial) {
	c.needs(c.caps.Groups, "groups")
	groups := append(hostile(), longest("")...)
	for _, g := range groups {
		c.group(g)
	}
	c.accept(plain("a"), plain("b"))
	for i, g := range groups {
		t := c.group(g)
		for _, d := range t.take(2) {
			t.counted(d, 1, 0)
			t.end(d, []driver.Verb{driver.Ack, driver.Bury}[i%2])
		}
		t.drained()
		t.shows(0, 0, 0, i%2*2)
	}
}

func nameJoined(c *trial) {
	c.needs(c.caps.Groups, "groups")
	var qs []driver.Queue
	base := c.queue.Topic[len(c.queue.Topic)-26:]
	for _, s := range []string{":", "::", "/", ".", "|", ",", "#", "-", "_", " ", "\x00", "\n", "{", "}", "}:", ":{", "%", "*"} {
		qs = append(qs,
			driver.Queue{Topic: base + "a" + s + "b", Group: "c"},
			driver.Queue{Topic: base + "a", Group: "b" + s + "c"},
			driver.Queue{Topic: base + s, Group: s + "c"},
			driver.Queue{Topic: base + s + s, Group: "c"},
		)
	}
	qs = append(qs,
		driver.Queue{Topic: base + "{x}", Group: "y"},
		driver.Queue{Topic: base + "x", Group: "y"},
		driver.Queue{Topic: base + "{x", Group: "y}"},
	)
	groups := map[string]map[string]bool{} // by topic
	for _, q := range qs {
		c.must(c.b.Subscribe(c.Context(), q))
		if groups[q.Topic] == nil {
			groups[q.Topic] = map[string]bool{}
		}
		groups[q.Topic][q.Group] = true
	}
	for topic := range groups {
		c.in(topic).accept(driver.Message{ID: "a", Body: []byte(topic)})
	}
	for topic := range groups {
		for group := range groups[topic] {
			t := c.in(topic)
			t.queue.Group = group
			d := t.body("a", topic)
			t.nothing()
			t.end(d, driver.Ack)
		}
	}
}

func nameInvalid(c *trial) {
	for _, bad := range []string{"", strings.Repeat("x", driver.MaxName+1), "\xff", "a\xffb", "\xed\xa0\x80", "é"[:1]} {
		for _, call := range c.calls() {
			q := driver.Queue{Topic: bad, Group: driver.DefaultGroup}
			if err := call.do(c.Context(), q); !errors.Is(err, driver.ErrInvalid) {
				c.Errorf("%s of the topic %.10q = %v, want ErrInvalid", call.name, bad, err)
			}
			if !call.grouped || bad == "" && call.whole {
				continue
			}
			q = driver.Queue{Topic: c.queue.Topic, Group: bad}
			if err := call.do(c.Context(), q); !errors.Is(err, driver.ErrInvalid) {
				c.Errorf("%s of the group %.10q = %v, want ErrInvalid", call.name, bad, err)
			}
		}
		c.refuse(driver.Message{ID: bad}, driver.ErrInvalid)
	}
	c.drained()
}

func nameConsumers(c *trial) {
	for i, name := range append(hostile(), "\xff", strings.Repeat("x", 1000)) {
		id := fmt.Sprint(i)
		c.accept(plain(id))
		d := c.takeWith(1, driver.ClaimRequest{Consumer: name})[0]
		_, err := c.b.Extend(c.Context(), c.queue, name, long, []driver.Receipt{d.Receipt})
		c.must(err)
		c.end(d, driver.Ack)
	}
}
