-- lockrelease gives up a lock.
--
-- KEYS[1] holder  string: token of the holder; expires with the lock
-- ARGV[1] token of the caller
-- Returns 1, or 0 if the caller does not have the lock.
local holder, mine = KEYS[1], ARGV[1]

-- What is no string is not the caller's either, so pcall.
if redis.pcall('GET', holder) ~= mine then
  return 0
end
return redis.call('DEL', holder)
