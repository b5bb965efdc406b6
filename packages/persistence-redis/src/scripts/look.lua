-- Whether there is work, and when there will be.
-- ARGV 1 and 2 '', 3 milliseconds worth a level of priority, 4… filter
-- Replies: time; due instances; entry key and definition, or '' and when to look again ('' not known).
local filter = readFilter(4)
local more = requeue(CHUNK)
wake()
local member = finder(filter, '', tonumber(ARGV[3]), 1)()
local due = dueInstances()
if member then
  local _, _, definition = match(call('HGET', CLASSES, 't' .. sub(member, 1, 12)), '^(%d)%z([^%z]*)%z([^%z]*)')
  return { digits(now), due, sub(member, 23), definition }
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
