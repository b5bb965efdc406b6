-- Claims the best tasks of a shard.
-- ARGV 1 ring field, 2 number of the call, 3 milliseconds worth a level of priority, 4 limit,
--      5 latest time at which anybody waits for the reply, 6 worker, 7 ttl ('' never),
--      8 '1' to leave what the worker failed itself, 9… filter
-- Replies: MessagePack of when they were claimed, entry keys, tokens, deliveries, and whether
--      something was left; MessagePack of the time, due instances, and of each key what describe
--      gives.
local outcome = answered()
if not outcome then
  local limit, worker = tonumber(ARGV[4]), ARGV[6]
  local members = {}
  if now <= tonumber(ARGV[5]) then
    local filter = readFilter(9)
    local more, batches = requeue(CHUNK), 1
    repeat
      local nextMember = finder(filter, worker, tonumber(ARGV[3]), limit, ARGV[8] == '1')
      members = {}
      while #members < limit do
        local member = nextMember()
        if not member then break end
        members[#members + 1] = member
      end
      -- No more at a time, however many have expired: the next calls go on.
      local isEnough = #members == limit or not more or batches == 5
      if not isEnough then more, batches = requeue(CHUNK), batches + 1 end
    until isEnough
  end
  local keys, tokens, counts = hold(members, worker, expiryOf(ARGV[7]))
  saveToken()
  outcome = remember({ now, keys, tokens, counts, leftOwn })
  wake()
end
local keys = cmsgpack.unpack(outcome)[2]
return { outcome, cmsgpack.pack({ now, dueInstances(), describe(keys) }) }
