-- cancel removes every copy of a message that waits, and what is kept beside one
-- that runs. If none runs, the id is free.
--
-- KEYS[1]   meta    hash: version of the group list in "v", and others
-- For each group nine more:
--           lanes   three zsets: waiting id by due time (us)
--           leases  zset: running id by the end of its lease (us)
--           known   zset: ended id by the time until which it is known (us)
--           bodies, states, errors, kept  hashes by id
-- ARGV[1] version of the group list that KEYS were made from
-- ARGV[2] id
-- Returns 1 if it removed a copy and none runs, or else 0; nil if the version is
-- another.
local meta, id = KEYS[1], ARGV[2]

if (redis.call('HGET', meta, 'v') or '0') ~= ARGV[1] then return false end

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

local running, removed = {}, false
for g = 2, #KEYS, 9 do
  for i = 0, 2 do redis.call('ZCARD', KEYS[g + i]) end
  local lease = redis.call('ZSCORE', KEYS[g + 3], id)
  redis.call('ZCARD', KEYS[g + 4])
  for i = 5, 7 do
    local living = redis.call('HEXISTS', KEYS[g + i], id) == 1
    if i == 5 then running[g] = living and lease and tonumber(lease) > now end
  end
  redis.call('HLEN', KEYS[g + 8])
end

local runs = false
for g = 2, #KEYS, 9 do
  if running[g] then
    runs = true
  else
    for i = 0, 3 do redis.call('ZREM', KEYS[g + i], id) end
    if redis.call('HDEL', KEYS[g + 5], id) == 1 then removed = true end
    for i = 6, 7 do redis.call('HDEL', KEYS[g + i], id) end
  end
  redis.call('HDEL', KEYS[g + 8], id)
end
if runs or not removed then return 0 end
for g = 2, #KEYS, 9 do redis.call('ZREM', KEYS[g + 4], id) end
return 1
