-- Sets a namespace up, unless it is, and tells how it is. KEYS 1 its description
-- ARGV 1 format, 2 shards, 3 '1' if it may be set up. Replies: format, shards ('' not set up).
-- The other scripts write numbers of 53 bits so.
if string.format('%d', 1099511627776) ~= '1099511627776' then
  return redis.error_reply('ERR a server of 64 bits is needed')
end
local stored = redis.call('HMGET', KEYS[1], 'format', 'shards')
if stored[1] then return stored end
if ARGV[3] ~= '1' then return { '', '' } end
redis.call('HSET', KEYS[1], 'format', ARGV[1], 'shards', ARGV[2])
return { ARGV[1], ARGV[2] }
