-- Reads what is remembered of a task's last commit. KEYS 12 results of the instance
-- ARGV 1 instance, 2 task. Replies: newest output, result, claim.
local _, _, newest = partsOfRecord(call('HGET', INSTANCES, ARGV[1]) or '')
return {
  newest or call('HGET', PAYLOADS, ARGV[1] .. '\0l'),
  call('HGET', KEYS[12], ARGV[2]),
  call('HGET', CLAIMS, ARGV[1] .. '\0' .. ARGV[2]),
}
