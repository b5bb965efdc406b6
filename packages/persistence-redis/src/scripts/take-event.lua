-- Takes the oldest event of a name away. KEYS 12 events of the instance
-- ARGV 1 instance, 2 name. Replies: payload, or nil.
local record = call('HGET', INSTANCES, ARGV[1])
if not record then return false end
local payload = popEvent(KEYS[12], ARGV[2])
if not payload then return false end
local before, version, queued, after = match(record, '^(.%d+%z[^%z]*%z)(%d+)%z(%d+)(%z.*)$')
call('HSET', INSTANCES, ARGV[1], before .. digits(version + 1) .. '\0' .. digits(queued - 1) .. after)
return payload
