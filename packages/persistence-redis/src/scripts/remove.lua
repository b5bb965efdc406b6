-- Removes an instance. KEYS 12 its results, 13 its events
-- ARGV 1 ring field, 2 number of the call, 3 instance. Replies: 1 if it was there.
local known = answered()
if known then return cmsgpack.unpack(known)[1] end
local record = call('HGET', INSTANCES, ARGV[3])
if record then removeInstance(ARGV[3], record, KEYS[12], KEYS[13]) end
remember({ record and 1 or 0 })
return record and 1 or 0
