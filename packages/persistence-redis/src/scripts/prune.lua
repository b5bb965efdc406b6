-- Removes instances that still are as they were found. KEYS 12… their results
-- ARGV 1 how many ranges of the score; lowest, and the first above each; then ids. Replies: how many were removed.
local ranges = tonumber(ARGV[1])
local removed = 0
for index = 2 + ranges * 2, #ARGV do
  local id = ARGV[index]
  local score = tonumber(call('ZSCORE', ENDED, id) or '-1')
  for from = 2, ranges * 2, 2 do
    if score >= tonumber(ARGV[from]) and score < tonumber(ARGV[from + 1]) then
      removeInstance(id, call('HGET', INSTANCES, id), KEYS[12 + index - 2 - ranges * 2])
      removed = removed + 1
    end
  end
end
return removed
