-- Finds the best tasks of a shard, and puts expired claims back.
-- ARGV 1 and 2 '', 3 milliseconds worth a level of priority, 4 limit, 5 worker, 6… filter
-- Replies: MessagePack of the time, due instances, entry keys, and of each what describe gives; claims.
local limit = tonumber(ARGV[4])
local filter = readFilter(6)
local more, batches = requeue(CHUNK), 1
local keys
repeat
  local nextMember = finder(filter, ARGV[5], tonumber(ARGV[3]), limit)
  keys = {}
  while #keys < limit do
    local member = nextMember()
    if not member then break end
    keys[#keys + 1] = sub(member, 23)
  end
  local isEnough = #keys == limit or not more or batches == 5
  if not isEnough then more, batches = requeue(CHUNK), batches + 1 end
until isEnough
wake()
return { cmsgpack.pack({ now, dueInstances(), keys, describe(keys) }), readMany(CLAIMS, keys) }
