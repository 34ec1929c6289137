-- requeue lets dead messages wait again, due now, with counters at zero.
--
-- KEYS[1..3]  lanes       zset: waiting id by due time (us); high, normal, low
-- KEYS[4]     bodies      hash: id to body, of what waits or runs
-- KEYS[5]     states      hash: id to "fence:nonce:attempts:failures:lane:due"
-- KEYS[6]     known       zset: ended id by the time until which it is known (us)
-- KEYS[7]     wake        list: a token for a consumer that waits
-- KEYS[8]     dead        zset: dead id by the time when it was buried (us)
-- KEYS[9]     deadBodies  hash: dead id to body
-- KEYS[10]    deadInfo    hash: dead id to "attempts:failures:lane:fence:..."
-- ARGV        ids
-- Returns for each 1 (waits), 0 (there is none) or 2 (one of the id lives).
local bodies, states, known, wake = KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local dead, deadBodies, deadInfo = KEYS[8], KEYS[9], KEYS[10]

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

for k = 1, 3 do redis.call('ZCARD', KEYS[k]) end
for _, key in ipairs({ bodies, states, deadBodies, deadInfo }) do redis.call('HLEN', key) end
for _, key in ipairs({ known, dead }) do redis.call('ZCARD', key) end
redis.call('LLEN', wake)

local function requeue(id)
  if not redis.call('ZSCORE', dead, id) then return 0 end
  if redis.call('HEXISTS', bodies, id) == 1 then return 2 end
  local info = redis.call('HGET', deadInfo, id) or ''
  local lane, fence = string.match(info, '^%d+:%d+:([012]):(%d+):')
  lane = lane or '1'
  redis.call('ZREM', dead, id)
  redis.call('ZREM', known, id)
  redis.call('HSET', bodies, id, redis.call('HGET', deadBodies, id) or '')
  redis.call('HDEL', deadBodies, id)
  redis.call('HDEL', deadInfo, id)
  redis.call('ZADD', KEYS[lane + 1], now, id)
  if fence then redis.call('HSET', states, id, table.concat({ fence, '', 0, 0, lane, string.format('%.0f', now) }, ':')) end
  return 1
end

local out, any = {}, false
for i, id in ipairs(ARGV) do
  out[i] = requeue(id)
  any = any or out[i] == 1
end
if any and redis.call('LLEN', wake) == 0 then redis.call('LPUSH', wake, '1') end
return out
