-- Reads the oldest event of a name. KEYS 12 events of the instance
-- ARGV 1 name. Replies: payload, or nil.
local first = match(call('HGET', KEYS[12], 'q\0' .. ARGV[1]) or '', '^(%d+) ')
return first and call('HGET', KEYS[12], 'p\0' .. ARGV[1] .. '\0' .. first) or false
