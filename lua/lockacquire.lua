-- lockacquire takes a lock if it is free. Asked again with the token that has
-- it, it answers as before: an answer that was lost is had by repeating.
--
-- KEYS[1] holder  string: token of the holder; expires with the lock
-- KEYS[2] fence   string: the fence given last; never expires
-- ARGV[1] token: unique per acquisition
-- ARGV[2] time to live (ms)
-- Returns {fence, 0} if the caller has the lock, else {0, time that it is
-- taken for (ms), or a negative number if it does not expire}.
local holder, fence = KEYS[1], KEYS[2]
local mine, ttl = ARGV[1], ARGV[2]

local has = redis.call('GET', holder)
if has and has ~= mine then
  return {0, redis.call('PTTL', holder)}
end
local last = redis.call('GET', fence)
if has and last then
  redis.call('PEXPIRE', holder, ttl)
  return {tonumber(last), 0}
end

-- A fence is at least the time in microseconds: so it grows also after the
-- server has lost what it stored.
local new = redis.call('INCR', fence)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if new < now then
  new = now
  redis.call('SET', fence, string.format('%.0f', new))
end
redis.call('SET', holder, mine, 'PX', ttl)
return {new, 0}
