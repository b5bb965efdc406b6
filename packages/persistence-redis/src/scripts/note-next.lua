-- Adds the task that was claimed with a commit, in another shard, to what is remembered of it.
-- KEYS 12 results of the instance
-- ARGV 1 instance, 2 task, 3 token, 4 instance, task and token that were claimed, each ended by a zero byte
local results = openResults(ARGV[1], KEYS[12])
local value = results.get(ARGV[2])
if not value then return 0 end
local order, commit, output = partsOf(value)
local before = match(commit, '^(' .. ARGV[3] .. '%z[^%z]*%z%d+%a)%-%z$')
if not before then return 0 end
results.set(ARGV[2], order .. '\0' .. before .. '+\0' .. ARGV[4] .. output)
return 1
