-- Putting tasks in the queue, and telling those who wait.
local woken = {}

local function tell(place, key, class)
  if #woken < 16 then woken[#woken + 1] = { place, key, class or false } end
end

local function enqueue(key, place, class)
  local task = find(key, '\0', 1, true)
  if task == #key then
    -- A timer without a task completes its instance.
    call('ZADD', DUE, digits(sinceOf(place)), 't' .. sub(key, 1, task - 1))
  else
    call('ZADD', QUEUE, '0', place .. key)
    tell(place, key, class)
  end
end

local function dequeue(key, place)
  local task = find(key, '\0', 1, true)
  if task == #key then
    call('ZREM', DUE, 't' .. sub(key, 1, task - 1))
  else
    call('ZREM', QUEUE, place .. key)
  end
end

-- Counts an entry of a class, which it belongs to as long as it is stored.
local function enter(key, place, class)
  if sub(key, -1) == '\0' then return end
  local digest = sub(place, 1, 12)
  if call('HINCRBY', CLASSES, 'n' .. digest, 1) == 1 then call('HSET', CLASSES, 't' .. digest, class) end
end

local function leave(key, place)
  if sub(key, -1) == '\0' then return end
  local digest = sub(place, 1, 12)
  if call('HINCRBY', CLASSES, 'n' .. digest, -1) == 0 then call('HDEL', CLASSES, 'n' .. digest, 't' .. digest) end
end

-- What became available, told to those who wait, if anybody does.
local function wake()
  if #woken == 0 then return end
  local listeners = call('PUBSUB', 'SHARDNUMSUB', WAKE)[2]
  if listeners == 0 then return end
  local parts = { digits(now), listeners }
  for _, one in ipairs(woken) do
    parts[#parts + 1] = sub(one[1], 13, 22) .. one[2]
    parts[#parts + 1] = one[3] or call('HGET', CLASSES, 't' .. sub(one[1], 1, 12)) or '\0\0'
    parts[#parts + 1] = ''
  end
  call('SPUBLISH', WAKE, table.concat(parts, '\0'))
end

-- Puts tasks whose claims have expired back: they keep the claim until it is replaced. Whether there
-- may be more: each takes about 15 microseconds, during which the server does nothing else.
local function requeue(most)
  local limit = math.min(most, 250)
  local expired = call('ZRANGEBYSCORE', CLAIMED, '-inf', digits(now), 'LIMIT', 0, limit)
  if #expired == 0 then return false end
  local members = {}
  for index, value in ipairs(readMany(CLAIMS, expired)) do
    local place = value and sub(value, 31, 52) or NO_PLACE
    if place ~= NO_PLACE then
      members[#members + 1] = '0'
      members[#members + 1] = place .. expired[index]
      tell(place, expired[index])
    end
  end
  callMany('ZREM', CLAIMED, expired)
  callMany('ZADD', QUEUE, members)
  return #expired == limit
end
