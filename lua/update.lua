-- update pushes messages, one after the other, that meet another of their id in
-- a way of their own: replace it, push it back, or run again after it.
--
-- KEYS[1]   meta    hash: version of the group list in "v", and others
-- For each group nine more:
--           bodies  hash: id to body, of what waits or runs
--           known   zset: ended id by the time until which it is known (us)
--           wake    list: a token for a consumer that waits
--           lanes   three zsets: waiting id by due time (us); high, normal, low
--           leases  zset: running id by the end of its lease (us)
--           states  hash: id to "fence:nonce:attempts:failures:lane:due"
--           kept    hash: id to "lane:due:body" of what waits for its end
-- ARGV[1] version of the group list that KEYS were made from
-- ARGV[2] "1" if this call repeats one whose answer was lost: then a message
--         stored with the same body is the one at hand, and was accepted
-- For each message six more: id, lane (0 to 2), delay (us), at (us), body, mode
-- ("replace", "pushback", "runagain").
-- Returns 1 (accepted), 0 (duplicate), or 2 (perhaps what the first call stored is
-- running or has ended) for each message, or nil if the version is another.
local meta, repeated = KEYS[1], ARGV[2] == '1'

if (redis.call('HGET', meta, 'v') or '0') ~= ARGV[1] then return false end

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

local groups = {}
for g = 2, #KEYS, 9 do
  groups[#groups + 1] = {
    bodies = KEYS[g], known = KEYS[g + 1], wake = KEYS[g + 2],
    lanes = { [0] = KEYS[g + 3], KEYS[g + 4], KEYS[g + 5] },
    leases = KEYS[g + 6], states = KEYS[g + 7], kept = KEYS[g + 8],
  }
end
for _, q in ipairs(groups) do -- for their types, before the first write
  for _, key in ipairs({ q.bodies, q.states, q.kept }) do redis.call('HLEN', key) end
  for _, key in ipairs({ q.known, q.leases, q.lanes[0], q.lanes[1], q.lanes[2] }) do redis.call('ZCARD', key) end
  redis.call('LLEN', q.wake)
end

-- place puts a message in a lane and takes it from where else it was.
local function place(q, id, lane, due)
  redis.call('ZADD', q.lanes[lane], due, id)
  for k = 0, 2 do
    if k ~= lane then redis.call('ZREM', q.lanes[k], id) end
  end
  redis.call('ZREM', q.leases, id)
  local head = redis.call('ZRANGE', q.lanes[lane], 0, 0)
  if head[1] == id and redis.call('LLEN', q.wake) == 0 then redis.call('LPUSH', q.wake, '1') end
end

-- touch renews the state of a message that waits: no token is valid for it now.
local function touch(q, id, lane, due)
  local fence, counters = string.match(redis.call('HGET', q.states, id) or '', '^(%d+):%x*:(%d+:%d+):')
  if fence then
    local state = { fence, '', counters, lane, string.format('%.0f', due) }
    redis.call('HSET', q.states, id, table.concat(state, ':'))
  end
end

-- laneOf returns the lane of a message that waits. One whose lease ran out is in
-- none, but its state has it.
local function laneOf(q, id)
  for k = 0, 2 do
    if redis.call('ZSCORE', q.lanes[k], id) then return k end
  end
  return tonumber(string.match(redis.call('HGET', q.states, id) or '', ':([012]):%d+$') or 1)
end

local act = {}
function act.replace(q, m)
  redis.call('HSET', q.bodies, m.id, m.body)
  place(q, m.id, m.lane, m.due)
  touch(q, m.id, m.lane, m.due)
end
function act.pushback(q, m)
  local lane = laneOf(q, m.id)
  place(q, m.id, lane, m.due)
  touch(q, m.id, lane, m.due)
end
function act.runagain(q, m)
  redis.call('HSET', q.kept, m.id, table.concat({ m.lane, string.format('%.0f', m.due), m.body }, ':'))
end

-- meet finds the copies that the message may act on, and whether there are any.
-- An id that is only known, because it ended, is met by a new message: but not by
-- a repeated one, which may be what has ended, or runs.
local function meet(m)
  local open, living, same, past = {}, false, false, false
  for _, q in ipairs(groups) do
    local body = redis.call('HGET', q.bodies, m.id)
    local till = redis.call('ZSCORE', q.known, m.id)
    if till and tonumber(till) > now then past = true end
    if body then
      local lease = redis.call('ZSCORE', q.leases, m.id)
      local runs = lease and tonumber(lease) > now
      local kept = m.mode == 'runagain' and redis.call('HGET', q.kept, m.id)
      living = true
      if m.mode ~= 'runagain' or not runs then same = same or body == m.body end
      if m.mode == 'runagain' and runs and body == m.body then past = true end
      if kept then
        local start = string.match(kept, '^[012]:%d+:()')
        same = same or string.sub(kept, start or 1) == m.body
      end
      if m.mode == 'runagain' and runs and not kept or m.mode ~= 'runagain' and not runs then
        open[#open + 1] = q
      end
    end
  end
  return open, living, repeated and same, repeated and past
end

local function push(m)
  local open, living, same, past = meet(m)
  if past and not same and (#open == 0 or m.mode == 'runagain') then return 2 end
  for _, q in ipairs(open) do act[m.mode](q, m) end
  if #open > 0 or same then return 1 end
  if living then return 0 end
  for _, q in ipairs(groups) do
    redis.call('HSET', q.bodies, m.id, m.body)
    place(q, m.id, m.lane, m.due)
  end
  return 1
end

local out = {}
for a = 3, #ARGV, 6 do
  local delay, at = tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  out[#out + 1] = push({
    id = ARGV[a], lane = tonumber(ARGV[a + 1]), body = ARGV[a + 4], mode = ARGV[a + 5],
    due = math.max(now + delay, at),
  })
end
return out
