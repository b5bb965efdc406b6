-- Numbers. ARGV 1, 3 and 5 the lowest score of each ended status, 2, 4 and 6 the first above
-- Replies: whether to ask again (claims expire), instances, ended ones by status, paused, available,
--      claimed, since when the oldest waits ('' nothing does).
if requeue(CHUNK) then
  wake()
  return { 1 }
end
wake()
local ended = {}
for index = 1, 3 do ended[index] = call('ZCOUNT', ENDED, ARGV[index * 2 - 1], '(' .. ARGV[index * 2]) end
local available, oldest = 0, nil
for _, class in ipairs(servedClasses({}, '')) do
  local low, high = '[' .. class[1], '(' .. class[1] .. AFTER_NOW
  local first = call('ZRANGEBYLEX', QUEUE, low, high, 'LIMIT', 0, 1)[1]
  if first then
    available = available + call('ZLEXCOUNT', QUEUE, low, high)
    oldest = math.min(oldest or now, sinceOf(first))
  end
end
return {
  0, call('ZCARD', IDS), ended[1], ended[2], ended[3], tonumber(call('HGET', META, 'paused') or '0'), available,
  call('ZCOUNT', CLAIMED, '(' .. digits(now), '+inf'), digits(now), oldest and digits(oldest) or '',
}
