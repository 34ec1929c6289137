-- forget removes some of what is left of a group whose messages were purged.
--
-- KEYS[1] dead        zset: dead id by the time when it was buried (us)
-- KEYS[2] deadBodies  hash: dead id to body
-- KEYS[3] deadInfo    hash: dead id to what is known of it
-- KEYS[4] known       zset: ended id by the time until which it is known (us)
-- KEYS[5] consumers   zset: consumer by the time until which it counts (us)
-- KEYS[6] wake        list: tokens for consumers that wait
-- ARGV[1] limit, 1 to 500
-- Returns how much it removed.
local last = ARGV[1] - 1

redis.call('HLEN', KEYS[2])
redis.call('HLEN', KEYS[3])
for _, key in ipairs({ KEYS[4], KEYS[5] }) do redis.call('ZCARD', key) end
redis.call('LLEN', KEYS[6])

local removed = 0
local ids = redis.call('ZRANGE', KEYS[1], 0, last)
if #ids > 0 then
  removed = redis.call('ZREM', KEYS[1], unpack(ids))
  redis.call('HDEL', KEYS[2], unpack(ids))
  redis.call('HDEL', KEYS[3], unpack(ids))
end
removed = removed + redis.call('ZREMRANGEBYRANK', KEYS[4], 0, last)
removed = removed + redis.call('ZREMRANGEBYRANK', KEYS[5], 0, last)
if redis.call('LPOP', KEYS[6]) then removed = removed + 1 end
return removed
