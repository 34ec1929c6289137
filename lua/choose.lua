-- choose is the first part of the scripts that claim: it gives back messages
-- whose lease ran out and picks due messages of a queue. lease.lua or end.lua
-- follows and claims them.
--
-- A message keeps its token when its lease runs out, until it is claimed again:
-- a holder that comes late, but before anybody else, may still settle.
--
-- KEYS[1]     meta       hash: "pause" and "pause:<group>" if claims are stopped,
--                        "g:<group>" or "x:<group>" as subscribe.lua says
-- KEYS[2..4]  lanes      zset: waiting id by due time (us); high, normal, low
-- KEYS[5]     leases     zset: running id by the end of its lease (us)
-- KEYS[6]     bodies     hash: id to body, of what waits or runs
-- KEYS[7]     states     hash: id to "fence:nonce:attempts:failures:lane:due"
-- KEYS[8]     errors     hash: id to the text of the latest failure
-- KEYS[9]     kept       hash: id to "lane:due:body" of what waits for its end
-- KEYS[10]    known      zset: ended id by the time until which it is known (us)
-- KEYS[11]    wake       list: a token for a consumer that waits
-- KEYS[12]    consumers  zset: consumer by the time until which it counts (us)
-- ARGV[1] group
-- ARGV[2] limit, 1 to 500
-- ARGV[3] turn: position in the cycle of priorities
-- ARGV[4] nonce of the broker
-- ARGV[5] lease (us); in end.lua the window in which ended ids are known (us)
-- ARGV[6] consumer to note as alive, or ""
-- ARGV[7] time for which it counts (us)
-- Returns now (us), the time until more is claimable (us; 0 now, -1 unknown), 1
-- if the group is one or was removed, 0 if the server knows nothing of it, and
-- id, token and body of each message claimed.
local meta, lanes = KEYS[1], { [0] = KEYS[2], KEYS[3], KEYS[4] }
local leases, bodies, states, errors = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local kept, known, wake, consumers = KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local group, limit, turn, nonce = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local span, consumer, counts = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])

local cycle = { 0, 1, 0, 0, 1, 0, 2, 0, 1, 0 } -- 6 high, 3 normal, 1 low, spread evenly
local reclaims, trims, maxBytes = 200, 500, 1048576

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

-- When it is time to note the consumer, it is also time to forget old ids.
local old = {}
if consumer ~= '' then old = redis.call('ZRANGEBYSCORE', known, '-inf', now, 'LIMIT', 0, trims) end
local function seen()
  if consumer == '' then return end
  redis.call('ZREMRANGEBYSCORE', consumers, '-inf', now)
  redis.call('ZADD', consumers, now + counts, consumer)
  if #old > 0 then redis.call('ZREM', known, unpack(old)) end
end

local facts = redis.call('HMGET', meta, 'pause', 'pause:' .. group, 'g:' .. group, 'x:' .. group)
local out = { now, -1, (facts[3] or facts[4]) and 1 or 0 }
if facts[1] or facts[2] then
  seen()
  return out
end

-- waiting reads one id more of each lane than can be claimed.
local function waiting()
  local w = {}
  for k = 0, 2 do w[k] = redis.call('ZRANGE', lanes[k], 0, limit, 'WITHSCORES') end
  return w
end

-- reclaim gives messages back to their lanes, with the due times they had.
local function reclaim()
  for _, key in ipairs({ bodies, errors, kept }) do redis.call('HLEN', key) end
  for _, key in ipairs({ known, consumers }) do redis.call('ZCARD', key) end
  redis.call('LLEN', wake)
  local ids = redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, reclaims)
  local state, back = redis.call('HMGET', states, unpack(ids)), { [0] = {}, {}, {} }
  for i, id in ipairs(ids) do
    local lane, due = string.match(state[i] or '', ':([012]):(%d+)$')
    local list = back[tonumber(lane or 1)]
    list[#list + 1] = due or now
    list[#list + 1] = id
  end
  redis.call('ZREM', leases, unpack(ids))
  for k = 0, 2 do
    if #back[k] > 0 then redis.call('ZADD', lanes[k], unpack(back[k])) end
  end
end

local line = waiting()
local lease = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')
if lease[2] and tonumber(lease[2]) <= now then
  reclaim()
  line = waiting()
  lease = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')
end

-- ready[k] counts what is due of what was read of a lane, which is in order.
local ready = {}
for k = 0, 2 do
  local m = #line[k] / 2
  if m > 0 and tonumber(line[k][2 * m]) > now then
    m = 0
    while tonumber(line[k][2 * m + 2]) <= now do m = m + 1 end
  end
  ready[k] = m
end

-- Pick by the turns of the cycle. The turn of a lane in which nothing is due
-- goes to the first lane in which something is. at[k] counts what is picked of a
-- lane.
local at, n = { [0] = 0, 0, 0 }, 0
local ids, laneOf, dueOf = {}, {}, {}
local function due(k) return at[k] < ready[k] end
local function pick()
  local k = cycle[(turn + n) % #cycle + 1]
  if not due(k) then
    k = nil
    for other = 2, 0, -1 do
      if due(other) then k = other end
    end
    if not k then return false end
  end
  local i = 2 * at[k]
  at[k] = at[k] + 1
  n = n + 1
  ids[n], laneOf[n], dueOf[n] = line[k][i + 1], k, line[k][i + 2]
  return true
end
while n < limit and pick() do end
local more = due(0) or due(1) or due(2) or (lease[2] and tonumber(lease[2]) <= now)

-- Read bodies, one and then as many as should fit, and leave what does not.
local bodyOf, read, bytes = {}, 0, 0
while read < n do
  local some = math.floor((maxBytes - bytes) * read / (bytes + 1))
  local to = math.min(read + math.max(some, 1), n)
  local found = redis.call('HMGET', bodies, unpack(ids, read + 1, to))
  for i = read + 1, to do
    bodyOf[i] = found[i - read]
    bytes = bytes + #(bodyOf[i] or '')
    if bytes > maxBytes and i > 1 then
      more, n = true, i - 1
      break
    end
  end
  read = to
end
for i = #ids, n + 1, -1 do ids[i] = nil end

-- digits writes a time as a whole number, as scores are unless others wrote them.
local function digits(score)
  if string.find(score, '^%d+$') then return score end
  return string.format('%.0f', math.max(0, tonumber(score)))
end

-- Make the tokens. The fence follows the clock, so that it grows also from one
-- message of an id to the next one. What has no body is no message.
local claimed, tokens = {}, {}
local left, orphans = { [0] = {}, {}, {} }, {}
local state = n > 0 and redis.call('HMGET', states, unpack(ids))
local clock = string.format('%.0f', now)
local first = {} -- what the token of a message that was never claimed begins with, by lane
for k = 0, 2 do first[k] = clock .. ':' .. nonce .. ':1:0:' .. k .. ':' end
local function again(i) -- the same of one that was
  local fence, attempts, failures = string.match(state[i], '^(%d+):%x*:(%d+):(%d+):')
  if not fence then return first[laneOf[i]] end
  fence = tonumber(fence) >= now and string.format('%.0f', fence + 1) or clock
  return fence .. ':' .. nonce .. ':' .. attempts + 1 .. ':' .. failures .. ':' .. laneOf[i] .. ':'
end
local m = 0
for i = 1, n do
  local id, lane = ids[i], left[laneOf[i]]
  lane[#lane + 1] = id
  if bodyOf[i] then
    m = m + 1
    claimed[m], tokens[m] = id, (state[i] and again(i) or first[laneOf[i]]) .. digits(dueOf[i])
    out[3 * m + 1], out[3 * m + 2], out[3 * m + 3] = id, tokens[m], bodyOf[i]
  else
    orphans[#orphans + 1] = id
  end
end

-- Read, before the first write, what else may be written.
if #orphans > 0 then
  redis.call('HLEN', errors)
  redis.call('HLEN', kept)
end
local baton = more and redis.call('LLEN', wake) == 0

-- leave takes from the lanes what was picked.
local function leave()
  for k = 0, 2 do
    if #left[k] > 0 then redis.call('ZREM', lanes[k], unpack(left[k])) end
  end
  if #orphans > 0 then
    for _, key in ipairs({ states, errors, kept }) do redis.call('HDEL', key, unpack(orphans)) end
  end
end

-- answer says when more will be claimable: what waits or runs, or what became so
-- at the time then. If something is already, it passes a token to another consumer.
local function answer(next)
  local function consider(score)
    if score and (not next or tonumber(score) < next) then next = tonumber(score) end
  end
  consider(lease[2])
  for k = 0, 2 do consider(line[k][2 * at[k] + 2]) end
  if baton then redis.call('LPUSH', wake, '1') end
  if more then
    out[2] = 0
  elseif next then
    out[2] = math.max(0, next - now)
  end
  return out
end
