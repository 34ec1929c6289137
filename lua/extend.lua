-- extend sets leases to end one lease from now, never earlier than they did. It
-- also renews a lease that ran out, as long as nobody else claimed the message.
--
-- KEYS[1]     leases     zset: running id by the end of its lease (us)
-- KEYS[2]     states     hash: id to its state, which is its token while claimed
-- KEYS[3..5]  lanes      zset: waiting id by due time (us)
-- KEYS[6]     consumers  zset: consumer by the time until which it counts (us)
-- ARGV[1] lease (us)
-- ARGV[2] consumer to note as alive, or ""
-- ARGV[3] time for which it counts (us)
-- ARGV[4..] id, token of each message held
-- Returns 1 (held) or 0 (lost) for each.
local leases, states, consumers = KEYS[1], KEYS[2], KEYS[6]
local consumer = ARGV[2]

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

local ids = {}
for i = 4, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local state = redis.call('HMGET', states, unpack(ids))
local lease = redis.call('ZMSCORE', leases, unpack(ids))

local held, ends, back = {}, {}, {}
for i, id in ipairs(ids) do
  held[i] = state[i] == ARGV[2 * i + 3] and 1 or 0
  if held[i] == 1 then
    ends[#ends + 1] = now + tonumber(ARGV[1])
    ends[#ends + 1] = id
    if not lease[i] then back[#back + 1] = id end
  end
end
if #back > 0 then
  for i = 3, 5 do redis.call('ZCARD', KEYS[i]) end
end

if consumer ~= '' then
  redis.call('ZREMRANGEBYSCORE', consumers, '-inf', now)
  redis.call('ZADD', consumers, now + tonumber(ARGV[3]), consumer)
end
if #ends > 0 then
  redis.call('ZREM', leases, '') -- frees nothing, but lets the next write through when memory is full
  redis.call('ZADD', leases, 'GT', unpack(ends))
end
if #back > 0 then
  for i = 3, 5 do redis.call('ZREM', KEYS[i], unpack(back)) end
end
return held
