-- The version of this layout.
CREATE TABLE {schema} (
	one     smallint PRIMARY KEY CHECK (one = 1),
	version integer  NOT NULL
);

-- One row for each group of a topic, and one without a group for what concerns
-- the topic. Rows are never deleted. subscribed: 0 not yet, 1 yes, 2 no more.
CREATE TABLE {queues} (
	id         bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	topic      bytea    NOT NULL,
	grp        bytea    NOT NULL,
	subscribed smallint NOT NULL,
	paused     smallint NOT NULL,
	UNIQUE (topic, grp)
);

-- One group's copies of events. line: queue_id * 8 + lane, where 0, 1, 2 waits
-- with high, normal, low priority; 3 runs; 4 has ended. at, in microseconds since
-- 1970: when it is due (0 to 2), its lease ends (3), or its id is forgotten (4).
-- token: of the claim that is valid; ended: of the claim that was settled last.
CREATE TABLE {events} (
	queue_id   bigint   NOT NULL,
	id         bytea    NOT NULL,
	line       bigint   NOT NULL,
	at         bigint   NOT NULL,
	due        bigint   NOT NULL,
	priority   smallint NOT NULL,
	token      bigint   NOT NULL,
	ended      bigint   NOT NULL,
	fence      bigint   NOT NULL,
	attempts   integer  NOT NULL,
	failures   integer  NOT NULL,
	again      smallint NOT NULL,
	last_error bytea    NOT NULL,
	body       bytea    NOT NULL,
	PRIMARY KEY (id, queue_id)
);

CREATE INDEX {events_line} ON {events} (line, at, id);

-- What RunAgain keeps until the event of that id ends.
CREATE TABLE {again} (
	queue_id bigint   NOT NULL,
	id       bytea    NOT NULL,
	due      bigint   NOT NULL,
	priority smallint NOT NULL,
	body     bytea    NOT NULL,
	PRIMARY KEY (id, queue_id)
);

-- Dead letters. line: queue_id * 8 + 5. at: when they were buried.
CREATE TABLE {dead} (
	queue_id   bigint   NOT NULL,
	id         bytea    NOT NULL,
	line       bigint   NOT NULL,
	at         bigint   NOT NULL,
	priority   smallint NOT NULL,
	ended      bigint   NOT NULL,
	fence      bigint   NOT NULL,
	attempts   integer  NOT NULL,
	failures   integer  NOT NULL,
	reason     bytea    NOT NULL,
	last_error bytea    NOT NULL,
	body       bytea    NOT NULL,
	PRIMARY KEY (id, queue_id)
);

CREATE INDEX {dead_line} ON {dead} (line, at, id);

-- The processes that handle a queue. seen: when they were last heard of.
CREATE TABLE {consumers} (
	queue_id bigint NOT NULL,
	name     bytea  NOT NULL,
	seen     bigint NOT NULL,
	PRIMARY KEY (queue_id, name)
);

INSERT INTO {schema} (one, version) VALUES (1, 1);
