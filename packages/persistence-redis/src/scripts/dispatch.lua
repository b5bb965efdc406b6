-- Looking for the best tasks and claiming them.
local EPOCH = 1735689600000
local lastToken

-- Grows for ever, also where a server lost the last numbers that it gave: they follow its clock.
local function nextToken()
  if not lastToken then
    lastToken = math.max(tonumber(call('HGET', META, 'token') or '0'), (now - EPOCH) * 64)
  end
  lastToken = lastToken + 1
  return lastToken
end

local function saveToken()
  if lastToken then call('HSET', META, 'token', digits(lastToken)) end
end

local LATEST = 253402300799999

local function expiryOf(ttl)
  if ttl == '' then return NEVER end
  return timeText(math.min(now + tonumber(ttl), LATEST))
end

-- A filter from arguments: how many tags ('' all), tags, how many definitions ('' all), definitions.
local function readFilter(from, list)
  list = list or ARGV
  local filter = {}
  for _, name in ipairs({ 'tags', 'definitions' }) do
    local count = list[from]
    from = from + 1
    if count ~= '' then
      local set = {}
      for _ = 1, tonumber(count) do
        set[list[from]] = true
        from = from + 1
      end
      filter[name] = set
    end
  end
  return filter, from
end

local function serves(filter, definition, tags)
  if filter.definitions and not filter.definitions[definition] then return false end
  if filter.tags then
    for tag in string.gmatch(tags, '%z([^%z]+)') do
      if not filter.tags[tag] then return false end
    end
  end
  return true
end

-- Classes that are served: { class, priority, whether this worker failed them last }.
local function servedClasses(filter, worker)
  local served = {}
  local fields = call('HGETALL', CLASSES)
  for index = 1, #fields, 2 do
    local field = fields[index]
    if sub(field, 1, 1) == 't' then
      local priority, failed, definition, tags =
        match(fields[index + 1], '^(%d)%z([^%z]*)%z([^%z]*)(.*)$')
      if serves(filter, definition, tags) then
        served[#served + 1] = { sub(field, 2), tonumber(priority), worker ~= '' and failed == worker }
      end
    end
  end
  return served
end

-- The front of a class moves on: its next due member and rank, or none.
local function advance(cursor, aging)
  cursor.at = cursor.at + 1
  if cursor.at > #cursor.page then
    if #cursor.page < cursor.size then return false end
    cursor.page = call('ZRANGEBYLEX', QUEUE, '(' .. cursor.page[#cursor.page],
      '(' .. cursor.class .. AFTER_NOW, 'LIMIT', 0, cursor.size)
    cursor.at = 1
    if #cursor.page == 0 then return false end
  end
  cursor.member = cursor.page[cursor.at]
  cursor.since = sinceOf(cursor.member)
  cursor.rank = cursor.since + cursor.priority * aging
  return true
end

local function comesBefore(a, b)
  if a.own ~= b.own then return b.own end
  if a.rank ~= b.rank then return a.rank < b.rank end
  if a.since ~= b.since then return a.since < b.since end
  return sub(a.member, 23) < sub(b.member, 23)
end

-- A heap of cursors, the best first.
local function sink(heap, index)
  while true do
    local best, left = index, index * 2
    if left <= #heap and comesBefore(heap[left], heap[best]) then best = left end
    if left < #heap and comesBefore(heap[left + 1], heap[best]) then best = left + 1 end
    if best == index then return end
    heap[index], heap[best] = heap[best], heap[index]
    index = best
  end
end

-- Whether tasks were passed over that the worker failed itself.
local leftOwn = false

-- The best tasks one after the other: each call gives a member of the queue, or nil. Of several
-- shards each is asked for what the worker did not fail itself before any is asked for the rest.
local function finder(filter, worker, aging, wanted, skipsOwn)
  local heap = {}
  local size = math.min(wanted, 128)
  for _, class in ipairs(servedClasses(filter, worker)) do
    local page = call('ZRANGEBYLEX', QUEUE, '[' .. class[1], '(' .. class[1] .. AFTER_NOW, 'LIMIT', 0, size)
    if #page > 0 and class[3] and skipsOwn then
      leftOwn = true
    elseif #page > 0 then
      local cursor = { class = class[1], priority = class[2], own = class[3], page = page, at = 0, size = size }
      advance(cursor, aging)
      heap[#heap + 1] = cursor
    end
  end
  for index = math.floor(#heap / 2), 1, -1 do sink(heap, index) end
  return function()
    local cursor = heap[1]
    if not cursor then return nil end
    local member = cursor.member
    if not advance(cursor, aging) then
      heap[1] = heap[#heap]
      heap[#heap] = nil
    end
    sink(heap, 1)
    return member
  end
end

-- Claims members of the queue; their entry keys, tokens and deliveries.
local function hold(members, worker, expires)
  local keys, tokens, counts = {}, {}, {}
  for index, member in ipairs(members) do keys[index] = sub(member, 23) end
  if #keys == 0 then return keys, tokens, counts end
  local hashed, scored = {}, {}
  local score, before, after = scoreOf(expires), expires .. NOW, '\0' .. worker .. '\0'
  for index, old in ipairs(readMany(CLAIMS, keys)) do
    local deliveries = (old and tonumber(match(old, '^%d+%z[^%z]*%z(%d+)$', 53)) or 0) + 1
    local token = nextToken()
    tokens[index] = token
    counts[index] = deliveries
    hashed[index * 2 - 1] = keys[index]
    hashed[index * 2] = before .. sub(members[index], 1, 22) .. digits(token) .. after .. digits(deliveries)
    scored[index * 2 - 1] = score
    scored[index * 2] = keys[index]
  end
  callMany('ZREM', QUEUE, members)
  callMany('HSET', CLAIMS, hashed)
  callMany('ZADD', CLAIMED, scored)
  return keys, tokens, counts
end

-- What a worker needs besides, of each key four values: the instance's record, its initial input,
-- its newest output, and the claims of its entries where it has several; the number of an earlier
-- key in place of the record where that is of the same instance.
local function describe(keys)
  local described, seen, ids, fields = {}, {}, {}, {}
  for index, key in ipairs(keys) do
    local id = sub(key, 1, find(key, '\0', 1, true) - 1)
    if not seen[id] then
      seen[id] = index
      ids[#ids + 1] = id
      fields[#fields + 1] = id
      fields[#fields + 1] = id .. '\0l'
    end
  end
  local records, payloads = readMany(INSTANCES, ids), readMany(PAYLOADS, fields)
  local number = 0
  for index, key in ipairs(keys) do
    local id = sub(key, 1, find(key, '\0', 1, true) - 1)
    local at = index * 4
    if seen[id] == index then
      number = number + 1
      local record = records[number]
      described[at - 3] = record
      described[at - 2] = payloads[number * 2 - 1]
      described[at - 1] = payloads[number * 2]
      described[at] = record and sub(record, 2, 3) ~= '1\0' and claimsOf(id, record) or false
    else
      described[at - 3], described[at - 2], described[at - 1], described[at] = seen[id], false, false, false
    end
  end
  return described
end

-- Instances that somebody must take care of, a bounded number.
local function dueInstances()
  local ids = {}
  for _, member in ipairs(call('ZRANGEBYSCORE', DUE, '-inf', digits(now), 'LIMIT', 0, 100)) do
    local id = sub(member, 2)
    local liveUntil
    if sub(member, 1, 1) == 's' then
      local record = call('HGET', INSTANCES, id)
      for _, value in ipairs(record and claimsOf(id, record) or {}) do
        local claim = value and claimOf(value)
        if claim and isLive(claim) then
          if not liveUntil or claim.expires > liveUntil then liveUntil = claim.expires end
        end
      end
    end
    if liveUntil then
      call('ZADD', DUE, scoreOf(liveUntil), member)
    else
      ids[#ids + 1] = id
    end
  end
  return ids
end
