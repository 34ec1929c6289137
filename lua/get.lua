-- get reads one message, the living one if there is one and a dead one too. It
-- only reads.
--
-- KEYS and the reply are those of list.lua, with one message or none.
-- ARGV[1] id
local id = ARGV[1]

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

local body = redis.call('HGET', KEYS[5], id)
if body then
  local state, text = redis.call('HGET', KEYS[6], id) or '', redis.call('HGET', KEYS[7], id) or ''
  local lease = redis.call('ZSCORE', KEYS[4], id)
  if lease then return { 0, 'running', id, 1, tonumber(lease), state, text, body } end
  for k = 0, 2 do
    local due = tonumber(redis.call('ZSCORE', KEYS[k + 1], id) or nil)
    if due then return { 0, due <= now and 'ready' or 'delayed', id, k, due, state, text, body } end
  end
end
local died = redis.call('ZSCORE', KEYS[8], id)
if not died then return { 0 } end
local info, letter = redis.call('HGET', KEYS[10], id) or '', redis.call('HGET', KEYS[9], id) or ''
return { 0, 'dead', id, 1, tonumber(died), info, '', letter }
