-- lockrenew lets a lock expire one time to live from now.
--
-- KEYS[1] holder  string: token of the holder; expires with the lock
-- ARGV[1] token of the caller
-- ARGV[2] time to live (ms)
-- Returns 1, or 0 if the caller does not have the lock.
local holder = KEYS[1]
local mine, ttl = ARGV[1], ARGV[2]

-- What is no string is not the caller's either, so pcall.
if redis.pcall('GET', holder) ~= mine then
  return 0
end
return redis.call('PEXPIRE', holder, ttl)
