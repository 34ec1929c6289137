-- status counts a queue. It only reads.
--
-- KEYS[1..3]  lanes      zset: waiting id by due time (us)
-- KEYS[4]     leases     zset: running id by the end of its lease (us)
-- KEYS[5]     dead       zset: dead id by the time when it was buried (us)
-- KEYS[6]     consumers  zset: consumer by the time until which it counts (us)
-- Returns the numbers of ready, delayed, running and dead messages and of
-- consumers, and for how long the oldest ready message has been due (us).
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

local ready, waiting, oldest = 0, 0, 0
for k = 1, 3 do
  waiting = waiting + redis.call('ZCARD', KEYS[k])
  ready = ready + redis.call('ZCOUNT', KEYS[k], '-inf', now)
  local head = redis.call('ZRANGE', KEYS[k], 0, 0, 'WITHSCORES')
  if head[2] and tonumber(head[2]) <= now then
    oldest = math.max(oldest, now - tonumber(head[2]))
  end
end
return {
  ready, waiting - ready, redis.call('ZCARD', KEYS[4]), redis.call('ZCARD', KEYS[5]),
  redis.call('ZCOUNT', KEYS[6], '(' .. string.format('%.0f', now), '+inf'), oldest,
}
