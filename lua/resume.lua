-- resume ends a pause and wakes consumers.
--
-- KEYS[1]   meta  hash: "pause" for the topic, "pause:<group>" for a group
-- KEYS[2..] wake  list of each group that was paused so
-- ARGV[1] field to remove
local meta = KEYS[1]

local tokens = {}
for i = 2, #KEYS do tokens[i] = redis.call('LLEN', KEYS[i]) end
if redis.call('HDEL', meta, ARGV[1]) == 0 then return 0 end
for i = 2, #KEYS do
  if tokens[i] == 0 then redis.call('LPUSH', KEYS[i], '1') end
end
return 1
