-- Instances that ended before a time.
-- ARGV 1 how many ids at most, 2… ranges of the score
-- Replies: how many there are, ids.
local count, ids = 0, {}
for from = 2, #ARGV, 2 do
  count = count + call('ZCOUNT', ENDED, ARGV[from], ARGV[from + 1])
  local left = tonumber(ARGV[1]) - #ids
  if left > 0 then
    for _, id in ipairs(call('ZRANGEBYSCORE', ENDED, ARGV[from], ARGV[from + 1], 'LIMIT', 0, left)) do
      ids[#ids + 1] = id
    end
  end
end
return { count, ids }
