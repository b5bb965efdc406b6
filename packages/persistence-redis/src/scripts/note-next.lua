-- Adds the task that was claimed with a commit, in another shard, to what is remembered of it.
-- KEYS 12 results of the instance
-- ARGV 1 instance, 2 task, 3 token, 4 instance, task and token that were claimed, each ended by a zero byte
local function noted(value)
  if not value then return nil end
  local order, commit, output = partsOf(value)
  local before = match(commit, '^(' .. ARGV[3] .. '%z[^%z]*%z%d+%a)%-%z$')
  return before and order .. '\0' .. before .. '+\0' .. ARGV[4] .. output
end

local task = ARGV[2] .. '\0'
local bare, final, newest = partsOfRecord(call('HGET', INSTANCES, ARGV[1]) or '')
if newest and sub(newest, 1, #task) == task then
  local value = noted(sub(newest, #task + 1))
  if not value then return 0 end
  call('HSET', INSTANCES, ARGV[1], bare .. '\0' .. #final .. '\0' .. final .. task .. value)
  return 1
end
local results = openResults(ARGV[1], KEYS[12])
local value = noted(results.get(ARGV[2]))
if not value then return 0 end
results.set(ARGV[2], value)
return 1
