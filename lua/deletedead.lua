-- deletedead removes dead messages.
--
-- KEYS[1] dead        zset: dead id by the time when it was buried (us)
-- KEYS[2] deadBodies  hash: dead id to body
-- KEYS[3] deadInfo    hash: dead id to what is known of it
-- ARGV    ids, 1 to 500
-- Returns how many there were.
local dead, deadBodies, deadInfo = KEYS[1], KEYS[2], KEYS[3]

redis.call('HLEN', deadBodies)
redis.call('HLEN', deadInfo)
local removed = redis.call('ZREM', dead, unpack(ARGV))
redis.call('HDEL', deadBodies, unpack(ARGV))
redis.call('HDEL', deadInfo, unpack(ARGV))
return removed
