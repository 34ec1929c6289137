-- settle ends claims: each is acked, given back (for a retry, or as if it had
-- not been claimed) or buried, if its token is still the valid one.
--
-- KEYS[1..3]  lanes       zset: waiting id by due time (us); high, normal, low
-- KEYS[4]     leases      zset: running id by the end of its lease (us)
-- KEYS[5]     bodies      hash: id to body, of what waits or runs
-- KEYS[6]     states      hash: id to "fence:nonce:attempts:failures:lane:due"
-- KEYS[7]     errors      hash: id to the text of the latest failure
-- KEYS[8]     kept        hash: id to "lane:due:body" of what waits for its end
-- KEYS[9]     known       zset: ended id by the time until which it is known (us)
-- KEYS[10]    wake        list: a token for a consumer that waits
-- KEYS[11]    dead        zset: dead id by the time when it was buried (us)
-- KEYS[12]    deadBodies  hash: dead id to body
-- KEYS[13]    deadInfo    hash: dead id to "attempts:failures:lane:fence:n:",
--                         n bytes of reason, and the text of the failure
-- ARGV[1] window for which ids that ended are known (us)
-- ARGV[2] number of acks
-- ARGV[3..] for each ack: id, token. After them, for each other settlement: verb
--           ("retry", "release", "bury"), id, token, delay (us), at (us),
--           reason, error
-- Returns for each 1 (done), 2 (was done before) or 0 (the lease is lost).
local lanes = { [0] = KEYS[1], KEYS[2], KEYS[3] }
local leases, bodies, states, errors, kept = KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local known, wake, dead, deadBodies, deadInfo = KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13]
local window, acks, trims = tonumber(ARGV[1]), tonumber(ARGV[2]), 500

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

local ids = {}
for i = 1, acks do ids[i] = ARGV[2 * i + 1] end
for a = 2 * acks + 3, #ARGV, 7 do ids[#ids + 1] = ARGV[a + 1] end

local state = redis.call('HMGET', states, unpack(ids))
local lease = redis.call('ZMSCORE', leases, unpack(ids))
local old = redis.call('ZRANGEBYSCORE', known, '-inf', now, 'LIMIT', 0, trims)

local successors = {}
if redis.call('HLEN', kept) > 0 then successors = redis.call('HMGET', kept, unpack(ids)) end

-- Each list holds the arguments of one command.
local held, lost, ended, followed, errorless = {}, {}, {}, {}, {}
local setKnown, setBody, setState, setError = {}, {}, {}, {}
local setDead, setDeadBody, setDeadInfo = {}, {}, {}
local waits, earliest = { [0] = {}, {}, {} }, {}
local till = string.format('%.0f', now + window)
local function add(list, a, b)
  local n = #list
  list[n + 1], list[n + 2] = a, b
end

-- wait puts a message in a lane, with the state that it has there.
local function wait(id, lane, due, fence, attempts, failures)
  lane = tonumber(lane)
  add(waits[lane], due, id)
  earliest[lane] = math.min(earliest[lane] or due, due)
  add(setState, id, table.concat({ fence, '', attempts, failures, lane, string.format('%.0f', due) }, ':'))
end

-- finish ends a message. What was kept until then waits from now on.
local function finish(id, fence, failures, successor)
  if failures and failures > 0 then errorless[#errorless + 1] = id end
  local lane, due, start
  if successor then lane, due, start = string.match(successor, '^([012]):(%d+):()') end
  if lane then
    followed[#followed + 1] = id
    add(setBody, id, string.sub(successor, start))
    wait(id, lane, tonumber(due), fence, 0, 0)
  else
    ended[#ended + 1] = id
    add(setKnown, till, id)
  end
end

local end_ = {}
function end_.ack(s, fence, _, failures, _, successor)
  finish(s.id, fence, failures, successor)
end
function end_.retry(s, fence, attempts, failures, lane)
  wait(s.id, lane, s.due, fence, attempts, failures + 1)
  if s.error ~= '' then add(setError, s.id, s.error) end
end
function end_.release(s, fence, attempts, failures, lane)
  wait(s.id, lane, s.due, fence, math.max(attempts - 1, 0), failures)
end
function end_.bury(s, fence, attempts, failures, lane, successor)
  local text = s.error
  if text == '' and failures > 0 then text = redis.call('HGET', errors, s.id) or '' end
  add(setDead, now, s.id)
  add(setDeadBody, s.id, redis.call('HGET', bodies, s.id) or '')
  add(setDeadInfo, s.id, table.concat({ attempts, failures + 1, lane, fence, #s.reason, s.reason .. text }, ':'))
  finish(s.id, fence, failures, successor)
end

-- refused says what becomes of a settlement whose token is not valid. It was done
-- before if the id is known, or if the claim was not taken over but ended: that
-- leaves its fence, without a nonce, and other counters.
local function refused(s, current)
  local f, nonce, a, n = string.match(current or '', '^(%d+):(%x*):(%d+):(%d+):')
  if f then
    local fence, attempts, failures = string.match(s.token, '^(%d+):%x+:(%d+):(%d+):')
    return f == fence and nonce == '' and (a ~= attempts or n ~= failures) and 2 or 0
  end
  local till = redis.call('ZSCORE', known, s.id)
  return till and tonumber(till) > now and 2 or 0
end

local out, done = {}, {}
local function hold(i, id)
  out[i], done[id] = 1, true
  held[#held + 1] = id
  if not lease[i] then lost[#lost + 1] = id end
end

local function settle(i, s)
  local fence, attempts, failures, lane = string.match(s.token, '^(%d+):%x+:(%d+):(%d+):([012]):')
  if state[i] ~= s.token or not fence then
    out[i] = refused(s, state[i])
  elseif done[s.id] then
    out[i] = 2
  else
    hold(i, s.id)
    end_[s.verb](s, fence, tonumber(attempts), tonumber(failures), lane, successors[i])
  end
end

for i = 1, acks do
  local id, token = ids[i], ARGV[2 * i + 2]
  -- Nearly all end a message that never failed and that nothing follows.
  if state[i] == token and not done[id] and not successors[i] and string.find(token, '^%d+:%x+:%d+:0:[012]:') then
    hold(i, id)
    finish(id)
  else
    settle(i, { verb = 'ack', id = id, token = token })
  end
end
for a = 2 * acks + 3, #ARGV, 7 do
  settle(#out + 1, {
    verb = ARGV[a], id = ARGV[a + 1], token = ARGV[a + 2],
    due = math.max(now + tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])),
    reason = ARGV[a + 5], error = ARGV[a + 6],
  })
end

-- Read what is written below and was not read above, then write.
local token = false
for lane, due in pairs(earliest) do
  local head = redis.call('ZRANGE', lanes[lane], 0, 0, 'WITHSCORES')
  if not head[2] or due < tonumber(head[2]) then token = true end
end
if token then token = redis.call('LLEN', wake) == 0 end
if #held > 0 then redis.call('HLEN', bodies) end
if #setError + #errorless > 0 then redis.call('HLEN', errors) end
if #lost > 0 then
  for k = 0, 2 do redis.call('ZCARD', lanes[k]) end
end
if #setDead > 0 then
  redis.call('ZCARD', dead)
  redis.call('HLEN', deadBodies)
  redis.call('HLEN', deadInfo)
end

local function call(command, key, list)
  if #list > 0 then redis.call(command, key, unpack(list)) end
end
call('ZREM', leases, held)
call('ZREM', known, old)
for k = 0, 2 do call('ZREM', lanes[k], lost) end
call('HDEL', bodies, ended)
call('HDEL', states, ended)
call('HDEL', errors, errorless)
call('HDEL', kept, followed)
call('ZADD', known, setKnown)
call('HSET', bodies, setBody)
call('HSET', states, setState)
call('HSET', errors, setError)
call('ZADD', dead, setDead)
call('HSET', deadBodies, setDeadBody)
call('HSET', deadInfo, setDeadInfo)
for k = 0, 2 do call('ZADD', lanes[k], waits[k]) end
if token then redis.call('LPUSH', wake, '1') end
return out
