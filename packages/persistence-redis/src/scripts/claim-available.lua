-- Claims the best tasks of a shard.
-- ARGV 1 ring field, 2 number of the call, 3 milliseconds worth a level of priority, 4 limit,
--      5 latest time at which anybody waits for the reply, 6 worker, 7 ttl ('' never),
--      8 '1' to leave what the worker failed itself, 9… filter
-- Replies: MessagePack of when they were claimed, entry keys, tokens, deliveries, and whether
--      something was left; MessagePack of the time, due instances, and of each key what describe
--      gives; payloads that it has numbers of.
local outcome = answeredBefore()
if outcome then
  return replyOf(outcome, dueOnes(), cmsgpack.unpack(outcome)[2])
end
local limit, aging = tonumber(ARGV[4]), tonumber(ARGV[3])
local request = newRequest(ARGV[6], ARGV[7], ARGV[8])
if ARGV[9] ~= '' or ARGV[10] ~= '' then request.filter = general().readFilter(9) end
local members = {}
if now <= tonumber(ARGV[5]) then
  local more, batches = false, 1
  if hasExpiredClaims() then more = general().requeue(1000) end
  repeat
    members = bestTasks(request, limit, aging)
    -- No more at a time, however many have expired: the next calls go on.
    local isEnough = #members == limit or not more or batches == 5
    if not isEnough then more, batches = general().requeue(1000), batches + 1 end
  until isEnough
end
local keys, tokens, counts = take(request, members)
outcome = pack({ now, keys, tokens, counts, shared ~= nil and shared.hasLeftOwn() })
rememberOutcome(outcome)
if shared then shared.wake() end
return replyOf(outcome, dueOnes(), keys)
