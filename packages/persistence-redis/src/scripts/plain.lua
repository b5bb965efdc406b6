-- What the scripts begin with that every worker comes through for every step: they do without the
-- shared parts where they can, since making their functions anew takes as long as a few steps.
-- KEYS as in prelude.lua.
local META, INSTANCES, CLAIMS, PAYLOADS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local QUEUE, CLASSES, CLAIMED, DUE = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local call, pack = redis.call, cmsgpack.pack
local byte, find, format, match, sub = string.byte, string.find, string.format, string.match, string.sub
local EMPTY = {}
-- What the record of an instance begins with that has neither a newest output nor events beside it.
local ALONE = byte('-')

local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local NOW = format('%015d', now)
local shared

-- A table with room for so many values: one that grows is made anew each time it doubles.
local function sized(count)
  return { unpack(EMPTY, 1, count) }
end

local function general()
  shared = shared or later()
  return shared
end

local known = call('HMGET', META, ARGV[1], 'token')
local lastToken = math.max(tonumber(known[2] or '0'), (now - 1735689600000) * 64)

-- What this call came to when it was sent before, or nil.
local function answeredBefore()
  if not known[1] then return nil end
  local number, from = match(known[1], '^(%d+)%z%d+%z()')
  return number == ARGV[2] and sub(known[1], from) or nil
end

local function rememberOutcome(outcome)
  call('HSET', META, 'token', format('%d', lastToken), ARGV[1], ARGV[2] .. '\0' .. NOW .. '\0' .. outcome)
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

-- As describe of dispatch.lua.
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
    described[at - 2] = payloads[index]
    described[at - 1] = false
    described[at] = false
    if record and byte(record) ~= ALONE then
      newest = newest + 1
      described[at - 1] = payloads[newest]
    end
  end
  return described
end

local function dueOnes()
  if #call('ZRANGEBYSCORE', DUE, '-inf', NOW, 'LIMIT', 0, 1) == 0 then return {} end
  return general().dueInstances()
end

-- Tells those who wait, if anybody does, of members of the queue: every other value of a list, from
-- the second after start on.
local function announce(list, start, count, classes)
  if count == 0 then return end
  local listeners = call('PUBSUB', 'SHARDNUMSUB', KEYS[11])[2]
  if listeners == 0 then return end
  local lines = {}
  for index = 1, math.min(count, 16) do
    local member = list[start + index * 2]
    lines[index] = { sub(member, 13, 22), sub(member, 23), classes[sub(member, 1, 12)] }
  end
  call('SPUBLISH', KEYS[11], cjson.encode({ format('%d', now), listeners, lines }))
end
