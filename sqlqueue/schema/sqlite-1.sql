-- The version of this layout.
CREATE TABLE {schema} (
	one integer PRIMARY KEY CHECK (one = 1),
	version integer NOT NULL
);

-- One row for each group of a topic, and one without a group for what concerns
-- the topic. Rows are never deleted. subscribed: 0 not yet, 1 yes, 2 no more.
CREATE TABLE {queues} (
	id integer PRIMARY KEY,
	topic blob NOT NULL,
	grp blob NOT NULL,
	subscribed integer NOT NULL,
	paused integer NOT NULL,
	UNIQUE (topic, grp)
);

-- One group's copies of events. line: queue_id * 8 + lane, where 0, 1, 2 waits
-- with high, normal, low priority; 3 runs; 4 has ended. at, in microseconds since
-- 1970: when it is due (0 to 2), its lease ends (3), or its id is forgotten (4).
-- token: of the claim that is valid; ended: of the claim that was settled last.
CREATE TABLE {events} (
	queue_id integer NOT NULL,
	id blob NOT NULL,
	line integer NOT NULL,
	at integer NOT NULL,
	due integer NOT NULL,
	priority integer NOT NULL,
	token integer NOT NULL,
	ended integer NOT NULL,
	fence integer NOT NULL,
	attempts integer NOT NULL,
	failures integer NOT NULL,
	again integer NOT NULL,
	last_error blob NOT NULL,
	body blob NOT NULL,
	PRIMARY KEY (id, queue_id)
);

CREATE INDEX {events_line} ON {events} (line, at, id);

-- What RunAgain keeps until the event of that id ends.
CREATE TABLE {again} (
	queue_id integer NOT NULL,
	id blob NOT NULL,
	due integer NOT NULL,
	priority integer NOT NULL,
	body blob NOT NULL,
	PRIMARY KEY (id, queue_id)
);

-- Dead letters. line: queue_id * 8 + 5. at: when they were buried.
CREATE TABLE {dead} (
	queue_id integer NOT NULL,
	id blob NOT NULL,
	line integer NOT NULL,
	at integer NOT NULL,
	priority integer NOT NULL,
	ended integer NOT NULL,
	fence integer NOT NULL,
	attempts integer NOT NULL,
	failures integer NOT NULL,
	reason blob NOT NULL,
	last_error blob NOT NULL,
	body blob NOT NULL,
	PRIMARY KEY (id, queue_id)
);

CREATE INDEX {dead_line} ON {dead} (line, at, id);

-- The processes that handle a queue. seen: when they were last heard of.
CREATE TABLE {consumers} (
	queue_id integer NOT NULL,
	name blob NOT NULL,
	seen integer NOT NULL,
	PRIMARY KEY (queue_id, name)
);

INSERT INTO {schema} (one, version) VALUES (1, 1);
