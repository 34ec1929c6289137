-- The version of this layout.
CREATE TABLE IF NOT EXISTS {schema} (
	one smallint PRIMARY KEY,
	version integer NOT NULL
) ENGINE=InnoDB;

-- One row for each group of a topic, and one without a group for what concerns
-- the topic. Rows are never deleted. subscribed: 0 not yet, 1 yes, 2 no more.
CREATE TABLE IF NOT EXISTS {queues} (
	id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
	topic varbinary(255) NOT NULL,
	grp varbinary(255) NOT NULL,
	subscribed smallint NOT NULL,
	paused smallint NOT NULL,
	UNIQUE (topic, grp)
) ENGINE=InnoDB;

-- One group's copies of events. line: queue_id * 8 + lane, where 0, 1, 2 waits
-- with high, normal, low priority; 3 runs; 4 has ended. at, in microseconds since
-- 1970: when it is due (0 to 2), its lease ends (3), or its id is forgotten (4).
-- token: of the claim that is valid; ended: of the claim that was settled last.
CREATE TABLE IF NOT EXISTS {events} (
	queue_id bigint NOT NULL,
	id varbinary(255) NOT NULL,
	line bigint NOT NULL,
	at bigint NOT NULL,
	due bigint NOT NULL,
	priority smallint NOT NULL,
	token bigint NOT NULL,
	ended bigint NOT NULL,
	fence bigint NOT NULL,
	attempts integer NOT NULL,
	failures integer NOT NULL,
	again smallint NOT NULL,
	last_error blob NOT NULL,
	body longblob NOT NULL,
	PRIMARY KEY (id, queue_id),
	KEY {events_line} (line, at, id)
) ENGINE=InnoDB;

-- What RunAgain keeps until the event of that id ends.
CREATE TABLE IF NOT EXISTS {again} (
	queue_id bigint NOT NULL,
	id varbinary(255) NOT NULL,
	due bigint NOT NULL,
	priority smallint NOT NULL,
	body longblob NOT NULL,
	PRIMARY KEY (id, queue_id)
) ENGINE=InnoDB;

-- Dead letters. line: queue_id * 8 + 5. at: when they were buried.
CREATE TABLE IF NOT EXISTS {dead} (
	queue_id bigint NOT NULL,
	id varbinary(255) NOT NULL,
	line bigint NOT NULL,
	at bigint NOT NULL,
	priority smallint NOT NULL,
	ended bigint NOT NULL,
	fence bigint NOT NULL,
	attempts integer NOT NULL,
	failures integer NOT NULL,
	reason blob NOT NULL,
	last_error blob NOT NULL,
	body longblob NOT NULL,
	PRIMARY KEY (id, queue_id),
	KEY {dead_line} (line, at, id)
) ENGINE=InnoDB;

-- The processes that handle a queue. seen: when they were last heard of.
CREATE TABLE IF NOT EXISTS {consumers} (
	queue_id bigint NOT NULL,
	name varbinary(255) NOT NULL,
	seen bigint NOT NULL,
	PRIMARY KEY (queue_id, name)
) ENGINE=InnoDB;

INSERT IGNORE INTO {schema} (one, version) VALUES (1, 1);
