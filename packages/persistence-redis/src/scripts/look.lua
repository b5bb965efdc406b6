-- Whether there is work, and when there will be.
-- ARGV 1 and 2 '', 3 milliseconds worth a level of priority, 4 worker ('' nobody in particular), 5… filter
-- Replies: time; due instances; entry key, definition and whether the worker failed it itself, or '' and when to look again ('' not known).
local filter = readFilter(5)
local more = requeue(CHUNK)
wake()
local member = finder(filter, ARGV[4], tonumber(ARGV[3]), 1, true)()
local isOwn = 0
if not member and leftOwn then
  isOwn = 1
  member = finder(filter, ARGV[4], tonumber(ARGV[3]), 1)()
end
local due = dueInstances()
if member then
  local _, _, definition = match(call('HGET', CLASSES, 't' .. sub(member, 1, 12)), '^(%d)%z([^%z]*)%z([^%z]*)')
  return { digits(now), due, sub(member, 23), definition, isOwn }
end
local nextAt = more and now or nil
for _, class in ipairs(servedClasses(filter, '')) do
  local first = call('ZRANGEBYLEX', QUEUE, '[' .. class[1] .. AFTER_NOW, '(' .. class[1] .. '~', 'LIMIT', 0, 1)[1]
  if first then nextAt = math.min(nextAt or math.huge, sinceOf(first)) end
end
for _, key in ipairs({ CLAIMED, DUE }) do
  local first = call('ZRANGEBYSCORE', key, '(' .. digits(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  if first and first ~= 'inf' then nextAt = math.min(nextAt or math.huge, tonumber(first)) end
end
return { digits(now), due, '', nextAt and digits(nextAt) or '' }
