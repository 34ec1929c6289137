-- reschedule makes every copy of a message that waits due at an instant, and what
-- is kept beside one that runs.
--
-- KEYS[1]   meta    hash: version of the group list in "v", and others
-- For each group eight more:
--           lanes   three zsets: waiting id by due time (us)
--           leases  zset: running id by the end of its lease (us)
--           wake    list: a token for a consumer that waits
--           bodies  hash: id to body, of what waits or runs
--           states  hash: id to "fence:nonce:attempts:failures:lane:due"
--           kept    hash: id to "lane:due:body" of what waits for its end
-- ARGV[1] version of the group list that KEYS were made from
-- ARGV[2] id
-- ARGV[3] instant (us since 1970)
-- Returns 1 if there was a copy, or else 0; nil if the version is another.
local meta, id = KEYS[1], ARGV[2]

if (redis.call('HGET', meta, 'v') or '0') ~= ARGV[1] then return false end

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local due = math.max(now, tonumber(ARGV[3]))

-- Read all keys before the first write. place[g] is the lane of a copy that waits.
local place, later = {}, {}
for g = 2, #KEYS, 8 do
  local lease = redis.call('ZSCORE', KEYS[g + 3], id)
  local state = redis.call('HGET', KEYS[g + 6], id)
  local kept = redis.call('HGET', KEYS[g + 7], id)
  local living = redis.call('HEXISTS', KEYS[g + 5], id) == 1
  redis.call('LLEN', KEYS[g + 4])
  local lane
  for k = 0, 2 do
    if redis.call('ZSCORE', KEYS[g + k], id) then lane = k end
  end
  if living and lease and tonumber(lease) > now then
    later[g] = kept
  elseif living then
    place[g] = lane or tonumber(string.match(state or '', ':([012]):%d+$') or 1)
  end
end

local found = 0
local function move(g, lane)
  redis.call('ZREM', KEYS[g + 3], id)
  redis.call('ZADD', KEYS[g + lane], due, id)
  local fence, counters = string.match(redis.call('HGET', KEYS[g + 6], id) or '', '^(%d+):%x*:(%d+:%d+):')
  if fence then
    local state = { fence, '', counters, lane, string.format('%.0f', due) }
    redis.call('HSET', KEYS[g + 6], id, table.concat(state, ':'))
  end
  local head = redis.call('ZRANGE', KEYS[g + lane], 0, 0)
  if head[1] == id and redis.call('LLEN', KEYS[g + 4]) == 0 then redis.call('LPUSH', KEYS[g + 4], '1') end
end
for g = 2, #KEYS, 8 do
  if place[g] then
    found = 1
    move(g, place[g])
  elseif later[g] then
    local lane, start = string.match(later[g], '^([012]):%d+:()')
    if lane then
      found = 1
      redis.call('ZREM', KEYS[g + 3], '') -- frees nothing, but lets the next write through when memory is full
      redis.call('HSET', KEYS[g + 7], id, table.concat({ lane, string.format('%.0f', due), string.sub(later[g], start) }, ':'))
    end
  end
end
return found
