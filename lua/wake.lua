-- wake leaves a token for a consumer that waits, if there is none.
--
-- KEYS[1] wake  list: at most one token
-- Returns the length of the list.
local n = redis.call('LLEN', KEYS[1])
if n > 0 then return n end
return redis.call('LPUSH', KEYS[1], '1')
