-- Reads an instance, and whether an event was sent already. KEYS 12 its events
-- ARGV 1 instance, 2 name of the event ('' none), 3 its id
-- Replies: time, record, claims, initial input, final output, whether the event is known.
local record = call('HGET', INSTANCES, ARGV[1])
if not record then return { digits(now), false } end
local payloads = call('HMGET', PAYLOADS, ARGV[1], ARGV[1] .. '\0f')
local isKnown = ARGV[2] ~= '' and call('HEXISTS', KEYS[12], 'i\0' .. ARGV[2] .. '\0' .. ARGV[3]) or 0
local bare, final = partsOfRecord(record)
return { digits(now), bare, claimsOf(ARGV[1], bare), payloads[1], final or payloads[2], isKnown }
