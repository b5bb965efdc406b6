-- Reads an instance with its results. KEYS 12 its results
-- ARGV 1 instance
-- Replies: time, record, claims, initial input, final output, newest output, results.
local record = call('HGET', INSTANCES, ARGV[1])
if not record then return { digits(now), false } end
local payloads = call('HMGET', PAYLOADS, ARGV[1], ARGV[1] .. '\0f', ARGV[1] .. '\0l')
local bare, final, newest = partsOfRecord(record)
return {
  digits(now), bare, claimsOf(ARGV[1], bare), payloads[1], final or payloads[2], newest or payloads[3],
  call('HGETALL', KEYS[12]),
}
