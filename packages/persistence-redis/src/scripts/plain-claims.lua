-- Claiming tasks without the shared parts, after plain.lua.
local shared

local function general()
  shared = shared or later()
  return shared
end

local function hasExpiredClaims()
  return #call('ZRANGEBYSCORE', CLAIMED, '-inf', NOW, 'LIMIT', 0, 1) > 0
end

-- Who asks for tasks: what its claims are made of.
local function newRequest(worker, ttl, skipsOwn)
  local expires = '999999999999999'
  if ttl ~= '' then expires = format('%015d', math.min(now + tonumber(ttl), 253402300799999)) end
  return { worker = worker, expires = expires, score = ttl == '' and '+inf' or expires, skipsOwn = skipsOwn == '1' }
end

-- The best tasks, as members of the queue, for a request with a filter or none.
local function bestTasks(request, wanted, aging)
  local members = {}
  local listing = call('HGETALL', CLASSES)
  if #listing == 4 and not request.filter then
    -- One class: its name, what it is and how many there are.
    local at = sub(listing[1], 1, 1) == 't' and 1 or 3
    local class = sub(listing[at], 2)
    if sub(listing[at + 1], 3, 3) == '\0' then
      -- Nobody failed them, and anybody may take them: they come in the order of time.
      members = call('ZRANGEBYLEX', QUEUE, '[' .. class, '(' .. class .. '~', 'LIMIT', 0, wanted)
      for index = #members, 1, -1 do
        if tonumber(sub(members[index], 13, 22), 36) <= now then break end
        members[index] = nil
      end
      return members
    end
  end
  if #listing > 0 then
    local nextMember = general().finder(request.filter or {}, request.worker, aging, wanted, request.skipsOwn)
    for index = 1, wanted do
      local member = nextMember()
      if not member then break end
      members[index] = member
    end
  end
  return members
end

-- Claims members of the queue: their entry keys, tokens and deliveries.
local function take(request, members)
  local count = #members
  if count == 0 then return EMPTY, EMPTY, EMPTY end
  local keys, tokens, counts = sized(count), sized(count), sized(count)
  for index = 1, count do keys[index] = sub(members[index], 23) end
  local times, worker = request.expires .. NOW, '\0' .. request.worker .. '\0'
  local hashed, scored, score = sized(count * 2), sized(count * 2), request.score
  local first = lastToken
  lastToken = first + count
  for index, old in ipairs(call('HMGET', CLAIMS, unpack(keys))) do
    local deliveries = (old and tonumber(match(old, '^%d+%z[^%z]*%z(%d+)$', 53)) or 0) + 1
    local key, two, token = keys[index], index * 2, first + index
    tokens[index] = token
    counts[index] = deliveries
    hashed[two - 1] = key
    hashed[two] = times .. sub(members[index], 1, 22) .. format('%d', token) .. worker .. deliveries
    scored[two - 1] = score
    scored[two] = key
  end
  call('ZREM', QUEUE, unpack(members))
  call('HSET', CLAIMS, unpack(hashed))
  call('ZADD', CLAIMED, unpack(scored))
  return keys, tokens, counts
end

-- Payloads that are replied as they are: Lua hashes every byte of a string that it makes, so what is
-- large should not be in another one as well.
local LARGE = 512
local large = {}

local function given(payload)
  if not payload or #payload <= LARGE then return payload end
  large[#large + 1] = payload
  return #large
end

-- As describe of dispatch.lua; of large payloads their numbers.
local function describeKeys(keys)
  local count = #keys
  if count == 0 then return EMPTY end
  local ids = sized(count)
  for index = 1, count do
    local key = keys[index]
    ids[index] = sub(key, 1, find(key, '\0', 1, true) - 1)
  end
  local records = call('HMGET', INSTANCES, unpack(ids))
  local fields, fieldCount = ids, count
  for index = 1, count do
    local record = records[index]
    -- One with several entries may occur more than once, and each has a claim of its own.
    if record and sub(record, 2, 3) ~= '1\0' then return general().describe(keys) end
    if record and byte(record) ~= ALONE then
      fieldCount = fieldCount + 1
      fields[fieldCount] = ids[index] .. '\0l'
    end
  end
  local payloads = call('HMGET', PAYLOADS, unpack(fields))
  local described, newest = sized(count * 4), count
  for index = 1, count do
    local record, at = records[index], index * 4
    described[at - 3] = record
    described[at - 2] = given(payloads[index])
    described[at - 1] = false
    described[at] = false
    if record and byte(record) ~= ALONE then
      newest = newest + 1
      described[at - 1] = given(payloads[newest])
    end
  end
  return described
end

-- What a script replies: what it came to, what workers need besides, large payloads.
local function replyOf(outcome, due, keys)
  local reply = { outcome, pack({ now, due, describeKeys(keys) }) }
  for index, payload in ipairs(large) do reply[index + 2] = payload end
  return reply
end

local function dueOnes()
  if #call('ZRANGEBYSCORE', DUE, '-inf', NOW, 'LIMIT', 0, 1) == 0 then return {} end
  return general().dueInstances()
end
