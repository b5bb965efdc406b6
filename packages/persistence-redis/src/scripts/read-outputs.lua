-- Reads outputs. KEYS 12 results of the instance
-- ARGV 1 instance, 2… tasks
-- Replies: whether the instance is there, newest output, results.
local tasks = {}
for index = 2, #ARGV do tasks[index - 1] = ARGV[index] end
local record = call('HGET', INSTANCES, ARGV[1])
if not record then return { 0, false, {} } end
local _, _, newest = partsOfRecord(record)
return { 1, newest or call('HGET', PAYLOADS, ARGV[1] .. '\0l'), readMany(KEYS[12], tasks) }
