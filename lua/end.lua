-- end follows choose.lua, where KEYS and ARGV are described. It ends messages as
-- it claims them (at most once): their ids stay known for ARGV[5] us, and what
-- was kept until their end waits from now.
local successors = {}
old = redis.call('ZRANGEBYSCORE', known, '-inf', now, 'LIMIT', 0, trims)
if #claimed > 0 then
  redis.call('HLEN', errors)
  if redis.call('HLEN', kept) > 0 then successors = redis.call('HMGET', kept, unpack(claimed)) end
end

local ended, until_, failed = {}, {}, {}
local followed, body, waiter, waits = {}, {}, {}, { [0] = {}, {}, {} }
local follows
local till = string.format('%.0f', now + span)
for i, id in ipairs(claimed) do
  local fence, failures = string.match(tokens[i], '^(%d+):%x+:%d+:(%d+):')
  if failures ~= '0' then failed[#failed + 1] = id end
  local lane, due, start = string.match(successors[i] or '', '^([012]):(%d+):()')
  if lane then
    local m, list = #followed, waits[tonumber(lane)]
    followed[m + 1] = id
    body[2 * m + 1], body[2 * m + 2] = id, string.sub(successors[i], start)
    waiter[2 * m + 1], waiter[2 * m + 2] = id, fence .. '::0:0:' .. lane .. ':' .. due
    list[#list + 1] = due
    list[#list + 1] = id
    follows = math.min(follows or tonumber(due), tonumber(due))
  else
    local m = #ended
    ended[m + 1] = id
    until_[2 * m + 1], until_[2 * m + 2] = till, id
  end
end

seen()
leave()
if #old > 0 then redis.call('ZREM', known, unpack(old)) end
if #failed > 0 then redis.call('HDEL', errors, unpack(failed)) end
if #ended > 0 then
  redis.call('HDEL', bodies, unpack(ended))
  redis.call('HDEL', states, unpack(ended))
  redis.call('ZADD', known, unpack(until_))
end
if #followed > 0 then
  redis.call('HDEL', kept, unpack(followed))
  redis.call('HSET', bodies, unpack(body))
  redis.call('HSET', states, unpack(waiter))
  for k = 0, 2 do
    if #waits[k] > 0 then redis.call('ZADD', lanes[k], unpack(waits[k])) end
  end
end
return answer(follows)
