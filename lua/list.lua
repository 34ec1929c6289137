-- list reads a page of the messages of a queue. It only reads, and its cost does
-- not grow with the queue.
--
-- KEYS[1..3]  lanes       zset: waiting id by due time (us); high, normal, low
-- KEYS[4]     leases      zset: running id by the end of its lease (us)
-- KEYS[5]     bodies      hash: id to body, of what waits or runs
-- KEYS[6]     states      hash: id to "fence:nonce:attempts:failures:lane:due"
-- KEYS[7]     errors      hash: id to the text of the latest failure
-- KEYS[8]     dead        zset: dead id by the time when it was buried (us)
-- KEYS[9]     deadBodies  hash: dead id to body
-- KEYS[10]    deadInfo    hash: dead id to "attempts:failures:lane:fence:n:",
--                         n bytes of reason, and the text of the failure
-- ARGV[1] "waiting", "ready", "delayed", "running" or "dead"
-- ARGV[2] offset; a negative one counts from the end
-- ARGV[3] limit, 1 to 200
-- Returns the offset from the beginning, and of each message: state, id, lane,
-- time (us), state string or dead info or "", text of failure or "", body.
local lanes = { [0] = KEYS[1], KEYS[2], KEYS[3] }
local leases, bodies, states, errors = KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local dead, deadBodies, deadInfo = KEYS[8], KEYS[9], KEYS[10]
local what, offset, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

local page = {}
local function add(state, lane, id, time)
  page[#page + 1] = { state = state, lane = lane, id = id, time = tonumber(time) }
end
-- addRange adds up to the limit from a zset, and from the given rank of it.
local function addRange(state, key, rank)
  local found = redis.call('ZRANGE', key, rank, rank + limit - #page - 1, 'WITHSCORES')
  for i = 1, #found, 2 do add(state, 1, found[i], found[i + 1]) end
end

-- The ready messages of a lane are the first ready[k] of it.
local ready, readyAll, delayedAll = {}, 0, 0
local function count()
  for k = 0, 2 do
    ready[k] = redis.call('ZCOUNT', lanes[k], '-inf', now)
    readyAll = readyAll + ready[k]
    delayedAll = delayedAll + redis.call('ZCARD', lanes[k]) - ready[k]
  end
end

local function addReady(skip)
  for k = 0, 2 do
    local first = math.min(skip, ready[k])
    local last = math.min(ready[k], first + limit - #page) - 1
    if last >= first then
      local found = redis.call('ZRANGE', lanes[k], first, last, 'WITHSCORES')
      for i = 1, #found, 2 do add('ready', k, found[i], found[i + 1]) end
    end
    skip = skip - first
  end
end

local function whole(us) return string.format('%.0f', us) end

-- delayedBefore counts the delayed messages of a lane that are due before us.
local function delayedBefore(k, us)
  return redis.call('ZCOUNT', lanes[k], '(' .. whole(now), '(' .. whole(us))
end

-- delayedAt returns the rank in each lane from which the delayed messages go on
-- after the first skip of all. It looks for the due time there by bisection.
local function delayedAt(skip)
  local low, high, rank = now + 1, now + 1, {}
  for k = 0, 2 do
    local tail = redis.call('ZRANGE', lanes[k], -1, -1, 'WITHSCORES')
    if tail[2] then high = math.max(high, math.ceil(tonumber(tail[2])) + 1) end
  end
  while low < high do
    local us = math.ceil((low + high) / 2)
    if delayedBefore(0, us) + delayedBefore(1, us) + delayedBefore(2, us) <= skip then
      low = us
    else
      high = us - 1
    end
  end
  for k = 0, 2 do
    local before = delayedBefore(k, low)
    rank[k] = ready[k] + before
    skip = skip - before
  end
  for k = 0, 2 do -- of those due at one time the higher priorities come first
    local same = math.min(skip, redis.call('ZCOUNT', lanes[k], whole(low), whole(low)))
    rank[k] = rank[k] + same
    skip = skip - same
  end
  return rank
end

local function addDelayed(skip)
  local room = limit - #page
  if room == 0 or skip >= delayedAll then return end
  local rank, line, at = skip == 0 and ready or delayedAt(skip), {}, { [0] = 1, 1, 1 }
  for k = 0, 2 do line[k] = redis.call('ZRANGE', lanes[k], rank[k], rank[k] + room - 1, 'WITHSCORES') end
  for _ = 1, room do
    local best
    for k = 0, 2 do
      local due = tonumber(line[k][at[k] + 1] or nil)
      if due and (not best or due < tonumber(line[best][at[best] + 1])) then best = k end
    end
    if not best then return end
    add('delayed', best, line[best][at[best]], line[best][at[best] + 1])
    at[best] = at[best] + 2
  end
end

local function from(total)
  if offset < 0 then offset = math.max(0, offset + total) end
  return offset
end
if what == 'running' then
  addRange('running', leases, from(offset < 0 and redis.call('ZCARD', leases) or 0))
elseif what == 'dead' then
  addRange('dead', dead, from(offset < 0 and redis.call('ZCARD', dead) or 0))
else
  count()
  local skip = from((what ~= 'delayed' and readyAll or 0) + (what ~= 'ready' and delayedAll or 0))
  if what == 'delayed' then
    addDelayed(skip)
  else
    addReady(skip)
    if what == 'waiting' then addDelayed(math.max(0, skip - readyAll)) end
  end
end

local ids = {}
for i, m in ipairs(page) do ids[i] = m.id end
local out = { offset }
if #ids == 0 then return out end
local isDead = what == 'dead'
local body = redis.call('HMGET', isDead and deadBodies or bodies, unpack(ids))
local info = redis.call('HMGET', isDead and deadInfo or states, unpack(ids))
local text = isDead and {} or redis.call('HMGET', errors, unpack(ids))
for i, m in ipairs(page) do
  for _, v in ipairs({ m.state, m.id, m.lane, m.time, info[i] or '', text[i] or '', body[i] or '' }) do
    out[#out + 1] = v
  end
end
return out
