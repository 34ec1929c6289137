-- lease follows choose.lua, where KEYS and ARGV are described. It leases the
-- messages for ARGV[5] us.
local ends, leased, held = string.format('%.0f', now + span), {}, {}
for i, id in ipairs(claimed) do
  leased[2 * i - 1], leased[2 * i] = ends, id
  held[2 * i - 1], held[2 * i] = id, tokens[i]
end

seen()
leave()
if #claimed == 0 then return answer() end
redis.call('ZADD', leases, unpack(leased))
redis.call('HSET', states, unpack(held))
return answer(now + span)
