-- push stores new messages for every group of a topic, each for all groups or
-- for none, and refuses those whose id one of the groups knows.
--
-- KEYS[1]   meta    hash: version of the group list in "v", and others
-- KEYS[2,3] bodies and known, as below, of the group "default": only where that is
--           none of the groups, but may have messages of the time before them
-- For each group six more:
--           bodies  hash: id to body, of what waits or runs
--           known   zset: ended id by the time until which it is known (us)
--           wake    list: a token for a consumer that waits
--           lanes   three zsets, of the priorities high, normal and low:
--                   waiting id by due time (us)
-- ARGV[1] version of the group list that KEYS were made from
-- ARGV[2] "1" if this call repeats one whose answer was lost: then a message
--         stored with the same body is the one at hand, and was accepted
-- For each message five more: id, lane (0 to 2), delay (us), at (us), body.
-- Returns 1 (accepted), 0 (duplicate), or 2 (a duplicate, perhaps of what the
-- first call stored) for each message, or nil if the version is another.
local meta, repeated = KEYS[1], ARGV[2] == '1'

if (redis.call('HGET', meta, 'v') or '0') ~= ARGV[1] then return false end

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

local first = 2 + (#KEYS - 1) % 6 -- the first key of the first group
local ids, outcome = {}, {}
for m = 3, #ARGV, 5 do ids[#ids + 1] = ARGV[m] end
local function look(bodies, known)
  bodies = redis.call('HMGET', bodies, unpack(ids))
  known = redis.call('ZMSCORE', known, unpack(ids))
  for i = 1, #ids do
    if repeated and bodies[i] == ARGV[5 * i + 2] then
      outcome[i] = 1
    elseif not outcome[i] and bodies[i] then
      outcome[i] = 0
    elseif not outcome[i] and known[i] and tonumber(known[i]) > now then
      outcome[i] = repeated and 2 or 0
    end
  end
end
if first > 2 then look(KEYS[2], KEYS[3]) end
for g = first, #KEYS, 6 do look(KEYS[g], KEYS[g + 1]) end

local bodies, waiting, earliest = {}, {}, {}
local clock = string.format('%.0f', now) -- since numbers become arguments slowly
for i, id in ipairs(ids) do
  if not outcome[i] then
    outcome[i] = 1
    local m = 5 * i - 2
    local lane, at, score = tonumber(ARGV[m + 1]), now, clock
    if ARGV[m + 2] ~= '0' or ARGV[m + 3] ~= '0' then
      at = math.max(now + ARGV[m + 2], tonumber(ARGV[m + 3]))
      score = at
    end
    bodies[#bodies + 1] = id
    bodies[#bodies + 1] = ARGV[m + 4]
    local list = waiting[lane] or {}
    waiting[lane] = list
    list[#list + 1] = score
    list[#list + 1] = id
    if not earliest[lane] or at < earliest[lane] then earliest[lane] = at end
  end
end
if #bodies == 0 then return outcome end

local wake = {}
for g = first, #KEYS, 6 do
  for lane, at in pairs(earliest) do
    local head = redis.call('ZRANGE', KEYS[g + 3 + lane], 0, 0, 'WITHSCORES')
    if not head[2] or at < tonumber(head[2]) then wake[g] = true end
  end
  if wake[g] then wake[g] = redis.call('LLEN', KEYS[g + 2]) == 0 end
end

for g = first, #KEYS, 6 do
  redis.call('HSET', KEYS[g], unpack(bodies))
  for lane, list in pairs(waiting) do redis.call('ZADD', KEYS[g + 3 + lane], unpack(list)) end
  if wake[g] then redis.call('LPUSH', KEYS[g + 2], '1') end
end
return outcome
