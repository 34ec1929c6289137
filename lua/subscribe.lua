-- subscribe adds a group to a topic, or removes it.
--
-- KEYS[1] meta  hash: "g:<group>" of each group, "x:<group>" of each that was
--               removed, "pause:<group>" of each that is paused, and in "v" the
--               version of the group list
-- ARGV[1] group
-- ARGV[2] "1" to add it, "0" to remove it
-- Returns 1 if that changed the group list, or else 0.
local meta, group, add = KEYS[1], ARGV[1], ARGV[2] == '1'

local there = redis.call('HEXISTS', meta, 'g:' .. group) == 1
if there == add then return 0 end

-- The version follows the clock, so that it is a new one also when the server
-- lost the old one with its data.
local t = redis.call('TIME')
local version = math.max((redis.call('HGET', meta, 'v') or 0) + 1, t[1] * 1000000 + t[2])
if add then
  redis.call('HSET', meta, 'g:' .. group, '1')
  redis.call('HDEL', meta, 'x:' .. group)
else
  redis.call('HDEL', meta, 'g:' .. group, 'pause:' .. group)
  redis.call('HSET', meta, 'x:' .. group, '1')
end
redis.call('HSET', meta, 'v', string.format('%.0f', version))
return 1
