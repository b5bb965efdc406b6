// Made from scripts/*.lua by `pnpm generate`: change them, not this file.

/** A Lua file. */
export type SourceName =
  | 'change-claim'
  | 'claim-available'
  | 'claim-task'
  | 'commit'
  | 'create'
  | 'dispatch'
  | 'due'
  | 'ended'
  | 'events'
  | 'find-available'
  | 'late'
  | 'list'
  | 'look'
  | 'note-next'
  | 'plain-claims'
  | 'plain-news'
  | 'plain'
  | 'prelude'
  | 'prune'
  | 'queue'
  | 'read-commit'
  | 'read-event'
  | 'read-outputs'
  | 'read-whole'
  | 'read'
  | 'removal'
  | 'remove'
  | 'results'
  | 'set-up'
  | 'start'
  | 'stats'
  | 'take-event'
  | 'tidy'
  | 'write'

/** The Lua sources by file name. */
export const sources: Readonly<Record<SourceName, string>> = {
  'change-claim': String.raw`-- Gives claims up, or makes them last longer, each if it is held.
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
`,
  'claim-available': `-- Claims the best tasks of a shard.
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
`,
  'claim-task': String.raw`-- Claims one task if it is available.
-- ARGV 1 ring field, 2 number of the call, 3 latest time at which anybody waits for the reply,
--      4 instance, 5 task, 6 worker, 7 ttl ('' never)
-- Replies: MessagePack of when it was, outcome, token and deliveries; MessagePack of the time, and
--      what describe gives.
local id, task = ARGV[4], ARGV[5]
local key = id .. '\0' .. task
local outcome = answered()
if not outcome then
  local function claim()
    local record = call('HGET', INSTANCES, id)
    if not record then return 'missing' end
    local status, cancel, pause =
      match(record, '^.%d+%z[^%z]*%z%d+%z%d+%z(%a)%d+%z%d+%z%d+%z[^%z]*%z([^%z]*)%z([^%z]*)%z')
    if status ~= 'i' or cancel ~= '' or pause ~= '' or now > tonumber(ARGV[3]) then return 'unavailable' end
    for _, entry in ipairs(entriesOf(id, record)) do
      if entry.key == key or entry.key == id .. '\0' then
        if sinceOf(entry.place) > now then return 'unavailable' end
        if entry.key ~= key then return 'timer' end
        local value = call('HGET', CLAIMS, key)
        if value and isLive(claimOf(value)) then return 'unavailable' end
        if entry.flag == 't' then return 'timer' end
        local _, tokens, counts = hold({ entry.place .. key }, ARGV[6], expiryOf(ARGV[7]))
        return 'claimed', tokens[1], counts[1]
      end
    end
    return 'unavailable'
  end
  local name, token, deliveries = claim()
  saveToken()
  outcome = remember({ now, name, token or 0, deliveries or 0 })
end
local isClaimed = cmsgpack.unpack(outcome)[2] == 'claimed'
return { outcome, cmsgpack.pack({ now, describe(isClaimed and { key } or {}) }) }
`,
  commit: String.raw`-- Commits of plain steps (see plain-commits.ts) of several instances, and claims what they ask for:
-- all of them or, where one can not be written so, none.
-- KEYS 12… results of the instances, where they are needed
-- ARGV 1 ring field, 2 number of the call, 3 a MessagePack array, in columns where a command takes
--      them as they are:
--      how many commits, how many that end, final outputs apart from records, next tasks for
--      anybody, next tasks that are claimed,
--      earliest and latest time at which they are right, milliseconds worth a level of priority,
--      how many requests,
--      of each commit: instances; entry keys; what their records must begin with after the first
--      character; what must stand in their claims; instance and record,
--      of each that ends: score and instance; of those whose outputs do not stand in their records
--      field and final output,
--      of each next task for anybody: '0' and member of the queue,
--      of each commit: number of its request (0 none), 1 to claim the next task, number of the key
--      of results (0 none), class of the next task ('' none), field and beginning of the value of
--      its result, output; where its outputs stand in its record there is no field, and the record
--      is without its end, the result,
--      of each next task that is claimed: entry key, place, task,
--      of each request: worker, ttl ('' never), '1' to leave what it failed itself, filter,
--      then classes of the next tasks, up to the end: digest, what it is.
--      4… place in that array and bytes of each that is large
-- Replies: as write.lua where every state is '1' and more, then payloads that have numbers in it. Otherwise nothing was written: '0' is
--      refused, and anything else to be written by write.lua.
local before = answeredBefore()
if before then
  local done = cmsgpack.unpack(before)
  local keys = {}
  for index = 1, #done[4], 3 do keys[#keys + 1] = done[4][index] end
  return replyOf(before, done[5] and dueOnes() or {}, keys)
end

local list = arguments()
local count, endCount, finalCount, queuedCount, ownCount = list[1], list[2], list[3], list[4], list[5]
local instances = 9
local keys = instances + count
local expected = keys + count
local proofs = expected + count
local changed = proofs + count
local ended = changed + count * 2
local finals = ended + endCount * 2
local queued = finals + finalCount * 2
local plans = queued + queuedCount * 2
local owns = plans + count * 7

local at = owns + ownCount * 3 + 1
local requests = sized(list[9])
for index = 1, list[9] do
  local request = newRequest(list[at], list[at + 1], list[at + 2])
  request.wanted = 0
  if list[at + 3] == '' and list[at + 4] == '' then
    at = at + 5
  else
    request.filter, at = general().readFilter(at + 3, list)
  end
  requests[index] = request
end
local classes = {}
for index = at, #list, 2 do classes[list[index]] = list[index + 1] end

local records = call('HMGET', INSTANCES, unpack(list, instances + 1, keys))
local claims = call('HMGET', CLAIMS, unpack(list, keys + 1, expected))

local states, seen = sized(count), {}
local isInTime = now >= list[6] and now <= list[7]
local areRight, areAlone = isInTime, true
for index = 1, count do
  local record, claim, proof, begin = records[index], claims[index], list[proofs + index], list[expected + index]
  local id, state = list[instances + index], '1'
  if
    not record or sub(record, 2, #begin + 1) ~= begin
    or not claim or sub(claim, 53, 52 + #proof) ~= proof
  then
    state, areRight = '0', false
  elseif not isInTime or seen[id] or sub(claim, 1, 15) <= NOW or sub(claim, 31, 31) == ' ' then
    state, areRight = '?', false
  else
    seen[id] = true
    if byte(record) ~= ALONE then areAlone = false end
  end
  states[index] = state
end

-- Of those that may have something beside their records: the newest output, and whether there were events.
local newests, dropped
if areRight and not areAlone then
  newests, dropped = {}, {}
  for index = 1, count do
    if byte(records[index]) ~= ALONE then
      local id, plan = list[instances + index], plans + index * 7 - 7
      local found = call('HMGET', PAYLOADS, id .. '\0l', id .. '\0e')
      local newest = found[1]
      local task = sub(list[keys + index], #id + 2) .. '\0'
      local isSame = newest and sub(newest, 1, #task) == task
      if found[2] and list[plan + 4] == '' or newest and not isSame and list[plan + 3] == 0 then
        states[index], areRight = '?', false
      elseif newest and isSame == (list[plan + 2] == 1) then
        -- It gives way: to the results if it is another's, or because it goes there.
        newests[index] = newest
      end
      if list[plan + 5] == '' then
        -- Its own stands in its record.
        if newest then dropped[#dropped + 1] = id .. '\0l' end
      else
        -- There still may be.
        local record = changed + index * 2
        list[record] = '?' .. sub(list[record], 2)
      end
    end
  end
end
if not areRight then
  return { pack({ now, table.concat(states), {}, {}, false }), pack({ now, {}, {} }) }
end

local held, expiries = sized(ownCount * 2), sized(ownCount * 2)
local tokens, ownClaims = sized(count), sized(ownCount * 2)
local entered, own, isAsked = {}, 0, false
for index = 1, count do
  local plan = plans + index * 7 - 7
  local class, left = list[plan + 4], sub(claims[index], 31, 42)
  local request = requests[list[plan + 1]]
  if class ~= left then
    entered[left] = (entered[left] or 0) - 1
    if class ~= '' then entered[class] = (entered[class] or 0) + 1 end
  end
  if list[plan + 2] == 1 then
    local token, from = lastToken + 1, owns + own * 3
    lastToken = token
    own = own + 1
    tokens[index] = format('%d', token)
    states[index] = '2'
    ownClaims[own * 2 - 1] = token
    ownClaims[own * 2] = 1
    held[own * 2 - 1] = list[from + 1]
    held[own * 2] = request.expires .. NOW .. list[from + 2] .. tokens[index] .. '\0' .. request.worker .. '\0' .. '1'
    expiries[own * 2 - 1] = request.score
    expiries[own * 2] = list[from + 1]
  elseif request then
    request.wanted = request.wanted + 1
    isAsked = true
  end
end
call('HDEL', CLAIMS, unpack(list, keys + 1, expected))
call('ZREM', CLAIMED, unpack(list, keys + 1, expected))
if ownCount > 0 then
  call('HSET', CLAIMS, unpack(held))
  call('ZADD', CLAIMED, unpack(expiries))
end
if queuedCount > 0 then call('ZADD', QUEUE, unpack(list, queued + 1, plans)) end
if endCount > 0 then call('ZADD', KEYS[10], unpack(list, ended + 1, finals)) end
for class, number in pairs(entered) do
  if number ~= 0 then
    local left = call('HINCRBY', CLASSES, 'n' .. class, number)
    if number > 0 and left == number then call('HSET', CLASSES, 't' .. class, classes[class]) end
    if left <= 0 then call('HDEL', CLASSES, 'n' .. class, 't' .. class) end
  end
end

-- The best tasks of any instance, now that all that these commits bring is in the queue: what they
-- are, then their claims.
local otherCount = 0
if isAsked then
  if hasExpiredClaims() then general().requeue(1000) end
  for _, request in ipairs(requests) do
    request.given = 0
    if request.wanted > 0 then
      request.keys, request.tokens, request.counts =
        take(request, bestTasks(request, request.wanted, list[8]))
      otherCount = otherCount + #request.keys
    end
  end
end

local stored = sized((count - ownCount - endCount + finalCount * 2) * 2)
for index = 1, finalCount * 2 do stored[index] = list[finals + index] end
local order, others = sized(otherCount * 3), sized(otherCount)
local storedCount, other = finalCount * 2, 0
own = 0
for index = 1, count do
  local plan = plans + index * 7 - 7
  local request, resultsKey = requests[list[plan + 1]], KEYS[list[plan + 3]]
  local token, newest = tokens[index], newests and newests[index]
  -- Put together once: every string that is made is hashed from end to end.
  if token then
    -- Who goes on with it has it, so nobody needs to find it beside the inputs.
    own = own + 1
    local tail = '=\0' .. list[owns + own * 3] .. '\0' .. token .. '\0'
    call('HSET', resultsKey, list[plan + 5], list[plan + 6] .. tail .. list[plan + 7])
    if newest then dropped[#dropped + 1] = list[instances + index] .. '\0l' end
  else
    local tail = '-\0'
    if request and request.given < #request.keys then
      local number = request.given + 1
      local key, claimed = request.keys[number], request.tokens[number]
      request.given = number
      states[index] = '3'
      tail = '+\0' .. key .. '\0' .. format('%d', claimed) .. '\0'
      other = other + 1
      others[other] = key
      order[other * 3 - 2] = key
      order[other * 3 - 1] = claimed
      order[other * 3] = request.counts[number]
    end
    if newest then
      local stop = find(newest, '\0', 1, true)
      call('HSET', resultsKey, sub(newest, 1, stop - 1), sub(newest, stop + 1))
    end
    if list[plan + 5] == '' then
      local record = changed + index * 2
      list[record] = list[record] .. list[plan + 6] .. tail .. list[plan + 7]
    else
      stored[storedCount + 1] = list[plan + 5]
      stored[storedCount + 2] = list[plan + 6] .. tail .. list[plan + 7]
      storedCount = storedCount + 2
    end
  end
end
call('HSET', INSTANCES, unpack(list, changed + 1, ended))
if storedCount > 0 then call('HSET', PAYLOADS, unpack(stored)) end
if dropped and #dropped > 0 then call('HDEL', PAYLOADS, unpack(dropped)) end
local outcome = pack({ now, table.concat(states), ownClaims, order, isAsked })
rememberOutcome(outcome)
announce(list, queued, queuedCount, classes)
if shared then shared.wake() end
return replyOf(outcome, isAsked and dueOnes() or EMPTY, others)
`,
  create: String.raw`-- Starts instances that have one task (see plain-creations.ts), each unless there is one of that id.
-- ARGV 1 ring field, 2 number of the call, 3 a MessagePack array:
--      how many; each: instance, record, task, its place, initial input, 1 if there is
--      one, earliest and latest time at which it is right,
--      then classes of the tasks, up to the end: digest, what it is,
--      4… place in that array and bytes of each that is large
-- Replies: as write.lua.
local FIELDS = 8
local nothing = pack({ now, {}, {} })
local before = answeredBefore()
if before then return { before, nothing } end

local list = arguments()
local count = list[1]
local ids = {}
for index = 1, count do ids[index] = list[2 + (index - 1) * FIELDS] end
local there = call('HMGET', INSTANCES, unpack(ids))
local states, records, names, queued, inputs, entered = {}, {}, {}, {}, {}, {}
for index = 1, count do
  local at, id = 2 + (index - 1) * FIELDS, ids[index]
  if there[index] or records[id] or now < tonumber(list[at + 6]) or now > tonumber(list[at + 7]) then
    states[index] = '0'
  else
    states[index] = '1'
    local record, place = list[at + 1], list[at + 3]
    records[id] = record
    names[#names + 1] = '0'
    names[#names + 1] = id
    queued[#queued + 1] = '0'
    queued[#queued + 1] = place .. id .. '\0' .. list[at + 2]
    if list[at + 5] == 1 then
      inputs[#inputs + 1] = id
      inputs[#inputs + 1] = list[at + 4]
    end
    local class = sub(place, 1, 12)
    entered[class] = (entered[class] or 0) + 1
  end
end
if #names > 0 then
  local changed = {}
  for index = 2, #names, 2 do
    changed[index - 1] = names[index]
    changed[index] = records[names[index]]
  end
  call('HSET', INSTANCES, unpack(changed))
  call('ZADD', KEYS[5], unpack(names))
  call('ZADD', QUEUE, unpack(queued))
  if #inputs > 0 then call('HSET', PAYLOADS, unpack(inputs)) end
  local classes = {}
  for index = 2 + count * FIELDS, #list, 2 do classes[list[index]] = list[index + 1] end
  for class, number in pairs(entered) do
    if call('HINCRBY', CLASSES, 'n' .. class, number) == number then
      call('HSET', CLASSES, 't' .. class, classes[class])
    end
  end
  announce(queued, 0, #queued / 2, classes)
end
local outcome = pack({ now, table.concat(states), {}, {}, false })
rememberOutcome(outcome)
return { outcome, nothing }
`,
  dispatch: String.raw`-- Looking for the best tasks and claiming them.
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
`,
  due: `-- Whether instances of a shard are due to be taken care of. KEYS 1 due. Replies: 1 if so.
local clock = redis.call('TIME')
local now = string.format('%d', clock[1] * 1000 + math.floor(clock[2] / 1000))
return #redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1)
`,
  ended: `-- Instances that ended before a time.
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
`,
  events: String.raw`-- Events of an instance, a hash of its own: by name which numbers wait ('q', name), payloads ('p',
-- name, number), and ids that were sent ('i', name, id). A payload of the instance (zero byte and
-- 'e') tells that there may be one.
local function pushEvent(instance, key, name, id, payload)
  call('HSET', PAYLOADS, instance .. '\0e', '')
  if payload then
    local first, last = match(call('HGET', key, 'q\0' .. name) or '1 0', '^(%d+) (%d+)$')
    last = digits(last + 1)
    call('HSET', key, 'q\0' .. name, first .. ' ' .. last, 'p\0' .. name .. '\0' .. last, payload)
  end
  if id ~= '' then call('HSET', key, 'i\0' .. name .. '\0' .. id, '') end
end

local function popEvent(key, name)
  local first, last = match(call('HGET', key, 'q\0' .. name) or '', '^(%d+) (%d+)$')
  if not first then return nil end
  local field = 'p\0' .. name .. '\0' .. first
  local payload = call('HGET', key, field)
  call('HDEL', key, field)
  if first == last then
    call('HDEL', key, 'q\0' .. name)
  else
    call('HSET', key, 'q\0' .. name, digits(first + 1) .. ' ' .. last)
  end
  return payload
end
`,
  'find-available': `-- Finds the best tasks of a shard, and puts expired claims back.
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
`,
  late: `-- What a script that begins without the shared parts may still need of them.
return {
  readFilter = readFilter, requeue = requeue, finder = finder, dueInstances = dueInstances, describe = describe,
  wake = wake, hasLeftOwn = function() return leftOwn end,
}
`,
  list: `-- Lists instances by id.
-- ARGV 1 where to start, 2 how many to look at, 3 how many to return, 4 how many statuses ('' all),
--      statuses, how many definitions ('' all), definitions
-- Replies: the last id that was looked at ('' at the end), then ids and what comes before the head.
local wanted = {}
local from = 4
for index = 1, 2 do
  local count = ARGV[from]
  from = from + 1
  if count ~= '' then
    wanted[index] = {}
    for _ = 1, tonumber(count) do
      wanted[index][ARGV[from]] = true
      from = from + 1
    end
  end
end
local ids = call('ZRANGEBYLEX', IDS, ARGV[1], '+', 'LIMIT', 0, ARGV[2])
local reply = { #ids == tonumber(ARGV[2]) and ids[#ids] or '' }
local limit = tonumber(ARGV[3])
for index, record in ipairs(readMany(INSTANCES, ids)) do
  local status, definition, last =
    match(record or '', '^.%d+%z[^%z]*%z%d+%z%d+%z(%a)%d+%z%d+%z%d+%z([^%z]*)()')
  if status and (not wanted[1] or wanted[1][status]) and (not wanted[2] or wanted[2][definition]) then
    reply[#reply + 1] = ids[index]
    reply[#reply + 1] = sub(record, 1, last - 1)
    if #reply > limit * 2 then
      reply[1] = ids[index]
      break
    end
  end
end
return reply
`,
  look: `-- Whether there is work, and when there will be.
-- ARGV 1 and 2 '', 3 milliseconds worth a level of priority, 4 worker ('' nobody in particular), 5… filter
-- Replies: time; due instances; entry key, definition and whether the worker failed it itself, or '' and when to look again ('' not known).
local filter = readFilter(5)
local more = requeue(CHUNK)
wake()
local member = finder(filter, ARGV[4], tonumber(ARGV[3]), 1, true)()
local isOwn = 0
if not member and leftOwn then
  isOwn = 1
  member = finder(filter, ARGV[4], tonumber(ARGV[3]), 1)()
end
local due = dueInstances()
if member then
  local _, _, definition = match(call('HGET', CLASSES, 't' .. sub(member, 1, 12)), '^(%d)%z([^%z]*)%z([^%z]*)')
  return { digits(now), due, sub(member, 23), definition, isOwn }
end
local nextAt = more and now or nil
for _, class in ipairs(servedClasses(filter, '')) do
  local first = call('ZRANGEBYLEX', QUEUE, '[' .. class[1] .. AFTER_NOW, '(' .. class[1] .. '~', 'LIMIT', 0, 1)[1]
  if first then nextAt = math.min(nextAt or math.huge, sinceOf(first)) end
end
for _, key in ipairs({ CLAIMED, DUE }) do
  local first = call('ZRANGEBYSCORE', key, '(' .. digits(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  if first and first ~= 'inf' then nextAt = math.min(nextAt or math.huge, tonumber(first)) end
end
return { digits(now), due, '', nextAt and digits(nextAt) or '' }
`,
  'note-next': String.raw`-- Adds the task that was claimed with a commit, in another shard, to what is remembered of it.
-- KEYS 12 results of the instance
-- ARGV 1 instance, 2 task, 3 token, 4 instance, task and token that were claimed, each ended by a zero byte
local function noted(value)
  if not value then return nil end
  local order, commit, output = partsOf(value)
  local before = match(commit, '^(' .. ARGV[3] .. '%z[^%z]*%z%d+%a)%-%z$')
  return before and order .. '\0' .. before .. '+\0' .. ARGV[4] .. output
end

local task = ARGV[2] .. '\0'
local bare, final, newest = partsOfRecord(call('HGET', INSTANCES, ARGV[1]) or '')
if newest and sub(newest, 1, #task) == task then
  local value = noted(sub(newest, #task + 1))
  if not value then return 0 end
  call('HSET', INSTANCES, ARGV[1], bare .. '\0' .. #final .. '\0' .. final .. task .. value)
  return 1
end
local results = openResults(ARGV[1], KEYS[12])
local value = noted(results.get(ARGV[2]))
if not value then return 0 end
results.set(ARGV[2], value)
return 1
`,
  'plain-claims': String.raw`-- Claiming tasks without the shared parts, after plain.lua.
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
`,
  'plain-news': String.raw`-- Tells those who wait, if anybody does, of members of the queue: every other value of a list, from
-- the second after start on.
local function announce(list, start, count, classes)
  if count == 0 then return end
  local listeners = call('PUBSUB', 'SHARDNUMSUB', KEYS[11])[2]
  if listeners == 0 then return end
  local parts = { format('%d', now), listeners }
  for index = 1, math.min(count, 16) do
    local member = list[start + index * 2]
    parts[index * 3] = sub(member, 13)
    parts[index * 3 + 1] = classes[sub(member, 1, 12)]
    parts[index * 3 + 2] = ''
  end
  call('SPUBLISH', KEYS[11], table.concat(parts, '\0'))
end
`,
  plain: String.raw`-- What the scripts begin with that every worker comes through for every step: they do without the
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

-- A table with room for so many values: one that grows is made anew each time it doubles.
local function sized(count)
  return { unpack(EMPTY, 1, count) }
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

-- What came as one argument, with those that came on their own because they are large.
local function arguments()
  local list = cmsgpack.unpack(ARGV[3])
  for index = 4, #ARGV, 2 do list[tonumber(ARGV[index])] = ARGV[index + 1] end
  return list
end
`,
  prelude: String.raw`-- What every script on a shard begins with.
-- KEYS 1 meta (hash: token counter, paused instances, what was answered last, format)
--      2 instances (hash: instance id -> record)      3 claims (hash: entry key -> claim)
--      4 payloads (hash: initial inputs, final outputs, newest outputs, which instances had events)
--      5 ids (sorted set, all of score 0)             6 queue (sorted set, all of score 0)
--      7 classes (hash: how many entries, and what they are)
--      8 claimed (sorted set by expiry)               9 due (sorted set by time)
--     10 ended (sorted set by status and time)       11 wake (channel; of a message
--     see subscriber.ts)
-- An entry key is an instance id, a zero byte and a task id. A place is a class (12 characters) and
-- a time (10 digits of base 36); place and entry key make a member of the queue, so that a class is
-- a range of it in the order of time.
local META, INSTANCES, CLAIMS, PAYLOADS, IDS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local QUEUE, CLASSES, CLAIMED, DUE, ENDED, WAKE = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local call = redis.call
local find, format, match, sub = string.find, string.format, string.match, string.sub
local CHUNK = 1000

local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Lua would write a time as 1.7e+12.
local function digits(number)
  return format('%d', number)
end

local function base36(number)
  local text = ''
  for _ = 1, 10 do
    local digit = number % 36
    text = string.char(digit < 10 and 48 + digit or 87 + digit) .. text
    number = (number - digit) / 36
  end
  return text
end

local AFTER_NOW = base36(now + 1)

local function sinceOf(place)
  return tonumber(sub(place, 13, 22), 36)
end

-- A time with as many digits as any has, so that texts compare as times do.
local function timeText(number)
  return format('%015d', number)
end

local NOW = timeText(now)
local NEVER, NO_PLACE = '999999999999999', string.rep(' ', 22)

-- The claim of an entry: expiry and when it was claimed (15 digits each), place in the queue (22
-- characters, spaces while the instance hands nothing out), then token of the last claim, worker
-- ('' given up) and deliveries, with zero bytes between them.
local function claimOf(value)
  local token, worker, deliveries = match(value, '^(%d+)%z([^%z]*)%z(%d+)$', 53)
  local place = sub(value, 31, 52)
  if place == NO_PLACE then place = '' end
  return {
    token = token, deliveries = deliveries, expires = sub(value, 1, 15), at = sub(value, 16, 30), worker = worker, place = place,
  }
end

local function claimText(claim)
  local place = claim.place == '' and NO_PLACE or claim.place
  return claim.expires .. claim.at .. place .. claim.token .. '\0' .. claim.worker .. '\0' .. claim.deliveries
end

local function isLive(claim)
  return claim.worker ~= '' and claim.expires > NOW
end

-- Claims are sorted by expiry.
local function scoreOf(expires)
  return expires == NEVER and '+inf' or expires
end

-- Calls a command with many arguments, some thousand at a time: Lua's stack has an end.
local function callMany(command, key, list)
  if #list <= CHUNK then
    if #list > 0 then call(command, key, unpack(list)) end
    return
  end
  for from = 1, #list, CHUNK do
    call(command, key, unpack(list, from, math.min(from + CHUNK - 1, #list)))
  end
end

local function readMany(key, fields)
  if #fields == 0 then return {} end
  if #fields <= CHUNK then return call('HMGET', key, unpack(fields)) end
  local values = {}
  for from = 1, #fields, CHUNK do
    for _, value in ipairs(call('HMGET', key, unpack(fields, from, math.min(from + CHUNK - 1, #fields)))) do
      values[#values + 1] = value
    end
  end
  return values
end

-- The entries of an instance's record: key, place, flag.
local function entriesOf(id, record)
  local count = tonumber(match(record, '^.(%d+)'))
  local entries = {}
  if count == 0 then return entries end
  local from = 1
  for _ = 1, 11 do from = find(record, '\0', from, true) + 1 end
  for index = 1, count do
    local task = find(record, '\0', from, true)
    local place = find(record, '\0', task + 1, true)
    local flag = find(record, '\0', place + 1, true)
    entries[index] = {
      key = id .. '\0' .. sub(record, from, task - 1),
      place = sub(record, task + 1, place - 1),
      flag = sub(record, place + 1, flag - 1),
    }
    from = (find(record, '\0', flag + 1, true) or 0) + 1
  end
  return entries
end

-- A record without what an instance may have come to that has completed, its final output, and its
-- newest one as it would stand among the payloads; nil where these do stand there. Such a record begins
-- with '.'. Length and bytes of the final output and then the newest one come after the head.
local function partsOfRecord(record)
  if sub(record, 1, 1) ~= '.' then return record end
  local from = 1
  for _ = 1, 11 do from = find(record, '\0', from, true) + 1 end
  local length = find(record, '\0', from, true)
  local last = length + tonumber(sub(record, from, length - 1))
  return sub(record, 1, from - 2), sub(record, length + 1, last), sub(record, last + 1)
end

-- The claims of a record's entries, in their order.
local function claimsOf(id, record)
  local first = sub(record, 2, 3)
  if first == '0\0' then return {} end
  local keys = {}
  for index, entry in ipairs(entriesOf(id, record)) do keys[index] = entry.key end
  return readMany(CLAIMS, keys)
end

-- Calls that a client sends again after a lost reply are answered as before: of each client the
-- last few numbered calls are known, with what they came to, as MessagePack.
local function answered()
  local known = ARGV[1] ~= '' and call('HGET', META, ARGV[1])
  if not known then return nil end
  local number, from = match(known, '^(%d+)%z%d+%z()')
  return number == ARGV[2] and sub(known, from) or nil
end

local function remember(outcome)
  local text = cmsgpack.pack(outcome)
  if ARGV[1] ~= '' then call('HSET', META, ARGV[1], ARGV[2] .. '\0' .. digits(now) .. '\0' .. text) end
  return text
end
`,
  prune: `-- Removes instances that still are as they were found. KEYS 12… their results
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
`,
  queue: String.raw`-- Putting tasks in the queue, and telling those who wait.
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
`,
  'read-commit': String.raw`-- Reads what is remembered of a task's last commit. KEYS 12 results of the instance
-- ARGV 1 instance, 2 task. Replies: newest output, result, claim.
local _, _, newest = partsOfRecord(call('HGET', INSTANCES, ARGV[1]) or '')
return {
  newest or call('HGET', PAYLOADS, ARGV[1] .. '\0l'),
  call('HGET', KEYS[12], ARGV[2]),
  call('HGET', CLAIMS, ARGV[1] .. '\0' .. ARGV[2]),
}
`,
  'read-event': String.raw`-- Reads the oldest event of a name. KEYS 12 events of the instance
-- ARGV 1 name. Replies: payload, or nil.
local first = match(call('HGET', KEYS[12], 'q\0' .. ARGV[1]) or '', '^(%d+) ')
return first and call('HGET', KEYS[12], 'p\0' .. ARGV[1] .. '\0' .. first) or false
`,
  'read-outputs': String.raw`-- Reads outputs. KEYS 12 results of the instance
-- ARGV 1 instance, 2… tasks
-- Replies: whether the instance is there, newest output, results.
local tasks = {}
for index = 2, #ARGV do tasks[index - 1] = ARGV[index] end
local record = call('HGET', INSTANCES, ARGV[1])
if not record then return { 0, false, {} } end
local _, _, newest = partsOfRecord(record)
return { 1, newest or call('HGET', PAYLOADS, ARGV[1] .. '\0l'), readMany(KEYS[12], tasks) }
`,
  'read-whole': String.raw`-- Reads an instance with its results. KEYS 12 its results
-- ARGV 1 instance
-- Replies: time, record, claims, initial input, final output, newest output, results.
local record = call('HGET', INSTANCES, ARGV[1])
if not record then return { digits(now), false } end
local payloads = call('HMGET', PAYLOADS, ARGV[1], ARGV[1] .. '\0f', ARGV[1] .. '\0l')
local bare, final, newest = partsOfRecord(record)
return {
  digits(now), bare, claimsOf(ARGV[1], bare), payloads[1], final or payloads[2], newest or payloads[3],
  call('HGETALL', KEYS[12]),
}
`,
  read: String.raw`-- Reads an instance, and whether an event was sent already. KEYS 12 its events
-- ARGV 1 instance, 2 name of the event ('' none), 3 its id
-- Replies: time, record, claims, initial input, final output, whether the event is known.
local record = call('HGET', INSTANCES, ARGV[1])
if not record then return { digits(now), false } end
local payloads = call('HMGET', PAYLOADS, ARGV[1], ARGV[1] .. '\0f')
local isKnown = ARGV[2] ~= '' and call('HEXISTS', KEYS[12], 'i\0' .. ARGV[2] .. '\0' .. ARGV[3]) or 0
local bare, final = partsOfRecord(record)
return { digits(now), bare, claimsOf(ARGV[1], bare), payloads[1], final or payloads[2], isKnown }
`,
  removal: String.raw`-- Removes everything of an instance.
local function removeInstance(id, record, results, events)
  for _, entry in ipairs(entriesOf(id, record)) do
    call('HDEL', CLAIMS, entry.key)
    call('ZREM', CLAIMED, entry.key)
    dequeue(entry.key, entry.place)
    leave(entry.key, entry.place)
  end
  if match(record, '^.%d+%z[^%z]*%z%d+%z%d+%z(%a)') == 'p' then call('HINCRBY', META, 'paused', -1) end
  call('ZREM', IDS, id)
  call('ZREM', ENDED, id)
  call('ZREM', DUE, 's' .. id)
  call('HDEL', INSTANCES, id)
  call('HDEL', PAYLOADS, id, id .. '\0l', id .. '\0f', id .. '\0e')
  call('UNLINK', results)
  if events then call('UNLINK', events) end
end
`,
  remove: `-- Removes an instance. KEYS 12 its results, 13 its events
-- ARGV 1 ring field, 2 number of the call, 3 instance. Replies: 1 if it was there.
local known = answered()
if known then return cmsgpack.unpack(known)[1] end
local record = call('HGET', INSTANCES, ARGV[3])
if record then removeInstance(ARGV[3], record, KEYS[12], KEYS[13]) end
remember({ record and 1 or 0 })
return record and 1 or 0
`,
  results: String.raw`-- Outputs and the records of last commits: a hash of the instance's own, task -> order, commit,
-- output. The newest output is among the payloads instead (task, zero byte, the same), so that
-- whoever claims the next task gets it in the same step, and small instances need no key of their own.
-- A commit is its token, worker, revision, status and a sign, and what was claimed with it: nothing
-- ('-'), a task of the same instance ('=') or of another one ('+'); no commit is a zero byte.
local NEWEST_BYTES = 4096

local function partsOf(value)
  local order, token, from = match(value, '^(%d*)%z(%d*)%z()')
  if token == '' then return order, '\0', sub(value, from), nil end
  local sign, after = match(value, '^[^%z]*%z%d+%a([-=+])%z()', from)
  local nextToken
  if sign == '=' then
    nextToken, after = match(value, '^[^%z]*%z(%d+)%z()', after)
  elseif sign == '+' then
    nextToken, after = match(value, '^[^%z]*%z[^%z]*%z(%d+)%z()', after)
  end
  return order, sub(value, #order + 2, after - 1), sub(value, after), tonumber(token), tonumber(nextToken or '0')
end

-- Stores the newest output of an instance; the one that was the newest goes to the others.
local function pushResult(id, key, task, value)
  local field = id .. '\0l'
  local newest = call('HGET', PAYLOADS, field)
  local isSame = newest and sub(newest, 1, #task + 1) == task .. '\0'
  if #value > NEWEST_BYTES then
    if isSame then call('HDEL', PAYLOADS, field) end
    call('HSET', key, task, value)
    return
  end
  if newest and not isSame then
    local at = find(newest, '\0', 1, true)
    call('HSET', key, sub(newest, 1, at - 1), sub(newest, at + 1))
  end
  call('HSET', PAYLOADS, field, task .. '\0' .. value)
end

local function openResults(id, key)
  local field = id .. '\0l'
  local newest = call('HGET', PAYLOADS, field)
  local newestTask, newestValue
  if newest then
    local at = find(newest, '\0', 1, true)
    newestTask, newestValue = sub(newest, 1, at - 1), sub(newest, at + 1)
  end
  local results = {}

  local function setNewest(task, value)
    newestTask, newestValue = task, value
    if task then call('HSET', PAYLOADS, field, task .. '\0' .. value) else call('HDEL', PAYLOADS, field) end
  end

  function results.get(task)
    if task == newestTask then return newestValue end
    return call('HGET', key, task)
  end

  function results.set(task, value)
    if task == newestTask then setNewest(task, value) else call('HSET', key, task, value) end
  end

  function results.drop(task)
    if task == newestTask then setNewest(nil) end
    call('HDEL', key, task)
  end

  -- Stores the newest of all.
  function results.push(task, value)
    if #value > NEWEST_BYTES then
      if task == newestTask then setNewest(nil) end
      call('HSET', key, task, value)
      return
    end
    if newestTask and newestTask ~= task then call('HSET', key, newestTask, newestValue) end
    setNewest(task, value)
  end

  -- Takes an output away; the commit stays.
  function results.clear(task, value)
    value = value or results.get(task)
    if not value then return end
    local order, commit = partsOf(value)
    if commit == '\0' then results.drop(task) elseif order ~= '' then results.set(task, '\0' .. commit) end
  end

  function results.clearAll()
    local fields = call('HGETALL', key)
    if newestTask then results.clear(newestTask) end
    for index = 1, #fields, 2 do
      if fields[index] ~= newestTask then results.clear(fields[index], fields[index + 1]) end
    end
  end

  -- Takes a commit away that was made before the task was claimed under this token.
  function results.forget(task, token)
    local value = results.get(task)
    if not value then return end
    local order, _, output, committed, claimed = partsOf(value)
    if not committed or committed >= token or claimed == token then return end
    if order == '' then results.drop(task) else results.set(task, order .. '\0\0' .. output) end
  end

  return results
end
`,
  'set-up': `-- Sets a namespace up, unless it is, and tells how it is. KEYS 1 its description
-- ARGV 1 format, 2 shards, 3 '1' if it may be set up. Replies: format, shards ('' not set up).
-- The other scripts write numbers of 53 bits so.
if string.format('%d', 1099511627776) ~= '1099511627776' then
  return redis.error_reply('ERR a server of 64 bits is needed')
end
local stored = redis.call('HMGET', KEYS[1], 'format', 'shards')
if stored[1] then return stored end
if ARGV[3] ~= '1' then return { '', '' } end
redis.call('HSET', KEYS[1], 'format', ARGV[1], 'shards', ARGV[2])
return { ARGV[1], ARGV[2] }
`,
  start: String.raw`-- Starts one instance that has one task (see plain-start.ts), unless there is one of that id: what
-- create.lua does for many, with as little as it takes, since a worker may be waiting for it.
-- KEYS as in prelude.lua.
-- ARGV 1 ring field, 2 number of the call, 3 instance, 4 record, 5 member of the queue, 6 what its
--      class is, 7 earliest and 8 latest time at which it is right, 9 initial input, where there is one
-- Replies: the time, then 1, or 0 for refused.
local call, format, sub = redis.call, string.format, string.sub
local META, CLASSES = KEYS[1], KEYS[7]
local clock = call('TIME')
local time = clock[1] * 1000 + math.floor(clock[2] / 1000)
local now = format('%d', time)
local number = ARGV[2] .. '\0'
local known = call('HGET', META, ARGV[1])
if known and sub(known, 1, #number) == number then return now .. sub(known, -1) end

local id, member, state = ARGV[3], ARGV[5], '0'
if time >= tonumber(ARGV[7]) and time <= tonumber(ARGV[8]) and call('HSETNX', KEYS[2], id, ARGV[4]) == 1 then
  state = '1'
  call('ZADD', KEYS[5], '0', id)
  call('ZADD', KEYS[6], '0', member)
  if ARGV[9] then call('HSET', KEYS[4], id, ARGV[9]) end
  local class = sub(member, 1, 12)
  if call('HINCRBY', CLASSES, 'n' .. class, '1') == 1 then call('HSET', CLASSES, 't' .. class, ARGV[6]) end
  local listeners = call('PUBSUB', 'SHARDNUMSUB', KEYS[11])[2]
  if listeners > 0 then
    call('SPUBLISH', KEYS[11], now .. '\0' .. listeners .. '\0' .. sub(member, 13) .. '\0' .. ARGV[6] .. '\0')
  end
end
call('HSET', META, ARGV[1], number .. now .. '\0' .. state)
return now .. state
`,
  stats: `-- Numbers. ARGV 1, 3 and 5 the lowest score of each ended status, 2, 4 and 6 the first above
-- Replies: whether to ask again (claims expire), instances, ended ones by status, paused, available,
--      claimed, since when the oldest waits ('' nothing does).
if requeue(CHUNK) then
  wake()
  return { 1 }
end
wake()
local ended = {}
for index = 1, 3 do ended[index] = call('ZCOUNT', ENDED, ARGV[index * 2 - 1], '(' .. ARGV[index * 2]) end
local available, oldest = 0, nil
for _, class in ipairs(servedClasses({}, '')) do
  local low, high = '[' .. class[1], '(' .. class[1] .. AFTER_NOW
  local first = call('ZRANGEBYLEX', QUEUE, low, high, 'LIMIT', 0, 1)[1]
  if first then
    available = available + call('ZLEXCOUNT', QUEUE, low, high)
    oldest = math.min(oldest or now, sinceOf(first))
  end
end
return {
  0, call('ZCARD', IDS), ended[1], ended[2], ended[3], tonumber(call('HGET', META, 'paused') or '0'), available,
  call('ZCOUNT', CLAIMED, '(' .. digits(now), '+inf'), digits(now), oldest and digits(oldest) or '',
}
`,
  'take-event': String.raw`-- Takes the oldest event of a name away. KEYS 12 events of the instance
-- ARGV 1 instance, 2 name. Replies: payload, or nil.
local record = call('HGET', INSTANCES, ARGV[1])
if not record then return false end
local payload = popEvent(KEYS[12], ARGV[2])
if not payload then return false end
local before, version, queued, after = match(record, '^(.%d+%z[^%z]*%z)(%d+)%z(%d+)(%z.*)$')
call('HSET', INSTANCES, ARGV[1], before .. digits(version + 1) .. '\0' .. digits(queued - 1) .. after)
return payload
`,
  tidy: `-- Forgets what clients were answered that are gone: some of them each time, or those that are named.
-- ARGV 1… fields
if #ARGV > 0 then return call('HDEL', META, unpack(ARGV)) end
local removed = 0
local fields = call('HRANDFIELD', META, 20, 'WITHVALUES')
for index = 1, #fields, 2 do
  local at = sub(fields[index], 1, 2) == 's:' and match(fields[index + 1], '^%d+%z(%d+)%z')
  if at and now - tonumber(at) > 3600000 then removed = removed + call('HDEL', META, fields[index]) end
end
return removed
`,
  write: String.raw`-- Writes changes of several instances, each if what was read is still there, and claims what they ask for.
-- KEYS 12… results, and where they are needed events, of the instances
-- ARGV 1 ring field, 2 number of the call, 3 a MessagePack array:
--      milliseconds worth a level of priority,
--      then requests: how many; each: worker, ttl ('' never), '1' to leave what
--      it failed itself, filter,
--      then writes: how many; each as read below,
--      4… place in that array and bytes of each that is large
-- Replies: MessagePack of when it was, of each write '0' (refused), '1', '2' (a task of its own
--      claimed) or '3' (another's), tokens and deliveries of own tasks, entry keys, tokens and
--      deliveries of others', whether a task was asked for; MessagePack of the time, due instances
--      (where a task was asked for), and of each other task what describe gives.
local list = cmsgpack.unpack(ARGV[3])
for index = 4, #ARGV, 2 do list[tonumber(ARGV[index])] = ARGV[index + 1] end
local aging = tonumber(list[1])
local from = 2

local function arg()
  from = from + 1
  return list[from - 1]
end

local requests = {}
for index = 1, arg() do
  local request = { worker = arg(), ttl = arg(), skipsOwn = arg() == '1' }
  request.filter, from = readFilter(from, list)
  requests[index] = request
end

local writes = tonumber(arg())

-- Stores a write's results and its commit, once it is known what was claimed with it.
local function finish(write, claimedInstance, claimedTask, claimedToken)
  local _, id, resultsKey, _, isNew, _, _, removed, removedTasks, resultsFrom, resultCount, forgotten, committed,
    commitToken, commitState, commitWorker = unpack(write, 1, 16)
  local commitText
  if commitToken then
    local sign, tail = '-', ''
    if claimedInstance == id then
      sign, tail = '=', claimedTask .. '\0' .. claimedToken .. '\0'
    elseif claimedInstance then
      sign, tail = '+', claimedInstance .. '\0' .. claimedTask .. '\0' .. claimedToken .. '\0'
    end
    commitText = commitToken .. '\0' .. commitWorker .. '\0' .. commitState .. sign .. '\0' .. tail
  elseif resultCount == 0 and removed == '0' and not forgotten then
    return
  end
  if resultCount == 1 and removed == '0' and not forgotten and list[resultsFrom] == committed then
    pushResult(id, resultsKey, committed, list[resultsFrom + 1] .. '\0' .. commitText .. list[resultsFrom + 2])
    return
  end
  local results = openResults(id, resultsKey)
  for _, one in ipairs(forgotten or {}) do
    if one[1] ~= committed then results.forget(one[1], one[2]) end
  end
  if removed == 'all' then
    results.clearAll()
  else
    for _, task in ipairs(removedTasks or {}) do results.clear(task) end
  end
  local isCommitStored = false
  for number = 1, resultCount do
    local task, order, output = unpack(list, resultsFrom + number * 3 - 3, resultsFrom + number * 3 - 1)
    local mine = '\0'
    if task == committed then
      mine, isCommitStored = commitText, true
    elseif not isNew then
      local old = results.get(task)
      if old then
        local _, kept = partsOf(old)
        mine = kept
      end
    end
    local value = order .. '\0' .. mine .. output
    if number == resultCount then results.push(task, value) else results.set(task, value) end
  end
  if commitText and not isCommitStored then
    local old = results.get(committed)
    local order, output = '', ''
    if old then
      local _
      order, _, output = partsOf(old)
    end
    results.set(committed, order .. '\0' .. commitText .. output)
  end
end
local outcome = answered()
if not outcome then
  local states, ownClaims, otherClaims = {}, {}, {}
  local unfinished, wanted, isAsked = {}, {}, false

  for index = 1, writes do
    local id, expected, at, tolerance, holder, heldTask, heldToken, record, open, resultsIndex, eventsIndex, requestIndex =
      unpack(list, from, from + 11)
    from = from + 12
    local heldKey, held
    if holder ~= '' then heldKey = id .. '\0' .. heldTask end
    local stored = call('HGET', INSTANCES, id)
    local isRight = math.abs(now - at) <= tonumber(tolerance)
    if expected == '' then
      isRight = isRight and not stored
    else
      isRight = isRight and stored and sub(stored, 2, #expected + 1) == expected
    end
    if isRight and heldKey then
      local value = call('HGET', CLAIMS, heldKey)
      held = value and claimOf(value)
      isRight = held and held.worker == holder and (heldToken == '' or held.token == heldToken)
    end
    states[index] = isRight and '1' or '0'

    local isOpen = open ~= ''
    local resultsKey, eventsKey = KEYS[tonumber(resultsIndex)], KEYS[tonumber(eventsIndex)]
    local request = requests[tonumber(requestIndex)]
    local own, ownPlace, ownIsNew
    if request then own, ownPlace = arg(), arg() end

    local forgotten
    for _ = 1, tonumber(arg()) do
      local kind, task, place = arg(), arg(), arg()
      local target, class, isReleased
      if kind == 'a' then
        class = arg()
      elseif kind == 'm' then
        target, class, isReleased = arg(), arg(), arg() ~= ''
      end
      if isRight then
        local key = id .. '\0' .. task
        local claim
        if kind ~= 'a' then
          claim = key == heldKey and held
          if not claim then
            local value = call('HGET', CLAIMS, key)
            claim = value and claimOf(value)
          end
        end
        if kind == 'a' then
          enter(key, place, class)
        elseif kind == 'r' then
          leave(key, place)
        elseif target and sub(place, 1, 12) ~= sub(target, 1, 12) then
          enter(key, target, class)
          leave(key, place)
        end
        local isHeld = claim and isLive(claim)
        if kind == 'a' then
          if request and task == own then ownIsNew = true elseif isOpen then enqueue(key, place, class) end
        elseif kind == 'r' then
          if claim then
            call('HDEL', CLAIMS, key)
            if claim.worker ~= '' then call('ZREM', CLAIMED, key) end
            if key ~= heldKey then
              forgotten = forgotten or {}
              forgotten[#forgotten + 1] = { task, tonumber(claim.token) }
            end
          end
          if not isHeld then dequeue(key, place) end
        else
          target = target or place
          if isHeld and not isReleased then
            claim.place = (kind == 'o' or kind == 'm' and isOpen) and target or ''
            call('HSET', CLAIMS, key, claimText(claim))
          else
            if claim then
              if claim.worker ~= '' then call('ZREM', CLAIMED, key) end
              if isReleased then claim.worker = '' end
              claim.place = isOpen and target or ''
              call('HSET', CLAIMS, key, claimText(claim))
            end
            if not isHeld then dequeue(key, place) end
            if isOpen then enqueue(key, target, class) end
          end
        end
      end
    end

    local endedScore, paused, signal = arg(), arg(), arg()
    local input, output = arg(), nil
    if input == '1' then input = { arg() } end
    if arg() == '1' then output = arg() end
    if isRight then
      call('HSET', INSTANCES, id, record)
      if expected == '' then call('ZADD', IDS, 0, id) end
      if endedScore ~= '' then
        call('ZADD', ENDED, endedScore, id)
        if eventsKey then
          call('UNLINK', eventsKey)
          call('HDEL', PAYLOADS, id .. '\0e')
        end
      end
      if paused ~= '' then call('HINCRBY', META, 'paused', paused) end
      if signal == '1' then
        call('ZADD', DUE, digits(now), 's' .. id)
      elseif signal == '0' then
        call('ZREM', DUE, 's' .. id)
      end
      if input == '0' then
        call('HDEL', PAYLOADS, id)
      elseif input ~= '' then
        call('HSET', PAYLOADS, id, input[1])
      end
      if output then call('HSET', PAYLOADS, id .. '\0f', output) end
    end

    local removed, removedTasks = arg(), nil
    if removed ~= 'all' and removed ~= '0' then
      removedTasks = {}
      for number = 1, tonumber(removed) do removedTasks[number] = arg() end
    end
    -- Results three by three: task, order, output.
    local resultCount, resultsFrom = tonumber(arg()), from
    from = from + resultCount * 3
    local taken, eventName, eventId, payload = arg(), arg(), nil, nil
    if eventName ~= '' then
      eventId = arg()
      if arg() == '1' then payload = arg() end
    end
    local committed, commitToken, commitState, commitWorker = arg(), nil, nil, nil
    if committed ~= '' then commitToken, commitState, commitWorker = arg(), arg(), arg() end

    if isRight then
      if taken ~= '' then popEvent(eventsKey, taken) end
      if eventName ~= '' and endedScore == '' then pushEvent(id, eventsKey, eventName, eventId, payload) end
      local claimed
      if ownIsNew then
        local key, expires = id .. '\0' .. own, expiryOf(request.ttl)
        claimed = { token = digits(nextToken()), deliveries = '1', expires = expires, at = NOW, worker = request.worker, place = ownPlace }
        call('HSET', CLAIMS, key, claimText(claimed))
        call('ZADD', CLAIMED, scoreOf(expires), key)
      elseif request and own ~= '' then
        local key = id .. '\0' .. own
        local value = call('HGET', CLAIMS, key)
        if not value or not isLive(claimOf(value)) then
          local _, tokens, counts = hold({ ownPlace .. key }, request.worker, expiryOf(request.ttl))
          claimed = { token = digits(tokens[1]), deliveries = counts[1] }
        end
      end
      if claimed then
        states[index] = '2'
        ownClaims[#ownClaims + 1] = tonumber(claimed.token)
        ownClaims[#ownClaims + 1] = tonumber(claimed.deliveries)
      end
      local write = {
        index, id, resultsKey, request, expected == '', own, claimed, removed, removedTasks, resultsFrom,
        resultCount, forgotten, committed, commitToken, commitState, commitWorker,
      }
      if request and not claimed then
        unfinished[#unfinished + 1] = write
        wanted[request] = (wanted[request] or 0) + 1
      else
        finish(write, claimed and id, own, claimed and claimed.token)
      end
    end
  end

  -- The best tasks of any instance, once all that these writes bring is in the queue.
  local finders = {}
  if #unfinished > 0 then
    requeue(CHUNK)
    isAsked = true
  end
  for _, write in ipairs(unfinished) do
    local request = write[4]
    local claimedInstance, claimedTask, claimedToken
    -- Another request's finder does not know what was claimed since it was made.
    local found = finders[request]
    if not found or found.isStale then
      found = { next = finder(request.filter, request.worker, aging, wanted[request], request.skipsOwn) }
      finders[request] = found
    end
    local member = found.next()
    if member then
      for other, one in pairs(finders) do one.isStale = other ~= request end
      local keys, tokens, counts = hold({ member }, request.worker, expiryOf(request.ttl))
      local at = find(keys[1], '\0', 1, true)
      claimedInstance, claimedTask = sub(keys[1], 1, at - 1), sub(keys[1], at + 1)
      claimedToken = digits(tokens[1])
      states[write[1]] = '3'
      otherClaims[#otherClaims + 1] = keys[1]
      otherClaims[#otherClaims + 1] = tokens[1]
      otherClaims[#otherClaims + 1] = counts[1]
    end
    finish(write, claimedInstance, claimedTask, claimedToken)
  end

  saveToken()
  outcome = remember({ now, table.concat(states), ownClaims, otherClaims, isAsked })
  wake()
end

local done = cmsgpack.unpack(outcome)
local keys = {}
for index = 1, #done[4], 3 do keys[#keys + 1] = done[4][index] end
return { outcome, cmsgpack.pack({ now, done[5] and dueInstances() or {}, describe(keys) }) }
`,
}
