-- Gives claims up, or makes them last longer, each if it is held.
-- ARGV 1 ring field, 2 number of the call, 3 how many; each: instance, task, worker, token ('' any),
--      'release', 'extend' or 'renew', milliseconds
-- Replies: of each the claim ('' not held).
local known = answered()
if known then return cmsgpack.unpack(known) end
local outcome = {}
for index = 1, tonumber(ARGV[3]) do
  local from = 4 + (index - 1) * 6
  local id, worker, token, kind = ARGV[from], ARGV[from + 2], ARGV[from + 3], ARGV[from + 4]
  local key = id .. '\0' .. ARGV[from + 1]
  local value = call('HGET', CLAIMS, key)
  local claim = value and claimOf(value)
  if not claim or claim.worker ~= worker or (token ~= '' and token ~= claim.token) then
    value = ''
  elseif kind == 'release' then
    claim.worker = ''
    call('HSET', CLAIMS, key, claimText(claim))
    call('ZREM', CLAIMED, key)
    if claim.place ~= '' then enqueue(key, claim.place) end
    -- A signal that waited for it can be applied now.
    call('ZADD', DUE, 'XX', 0, 's' .. id)
  elseif claim.expires ~= NEVER then
    local start = now
    if kind == 'extend' then start = math.max(now, tonumber(claim.expires)) end
    if not isLive(claim) and claim.place ~= '' then dequeue(key, claim.place) end
    claim.expires = timeText(math.min(start + tonumber(ARGV[from + 5]), 253402300799999))
    value = claimText(claim)
    call('HSET', CLAIMS, key, value)
    call('ZADD', CLAIMED, claim.expires, key)
  end
  outcome[index] = value
end
remember(outcome)
wake()
return outcome
