-- purge removes some of the messages that wait or run.
--
-- KEYS[1..4]  zsets: the lanes, and the leases
-- KEYS[5..8]  hashes by id: bodies, states, errors, kept
-- ARGV[1] limit, 1 to 500
-- Returns how many it removed.
local limit = tonumber(ARGV[1])

local ids, of = {}, {}
for z = 1, 4 do
  of[z] = limit > #ids and redis.call('ZRANGE', KEYS[z], 0, limit - #ids - 1) or {}
  for _, id in ipairs(of[z]) do ids[#ids + 1] = id end
end
for h = 5, 8 do redis.call('HLEN', KEYS[h]) end
if #ids == 0 then return 0 end

for z = 1, 4 do
  if #of[z] > 0 then redis.call('ZREM', KEYS[z], unpack(of[z])) end
end
for h = 5, 8 do redis.call('HDEL', KEYS[h], unpack(ids)) end
return #ids
