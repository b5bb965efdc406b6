-- Commits of plain steps (see plain-commits.ts) of several instances, and claims what they ask for:
-- all of them or, where one can not be written so, none.
-- KEYS 12… results of the instances, where they are needed
-- ARGV 1 ring field, 2 number of the call, 3 a MessagePack array:
--      how many commits; each: instance, what its record must begin with, task, what must
--      stand in its claim, record; next task ('' none), its place, number of a request (0 none),
--      1 to claim the next task; score of the end ('' none), final output; order of the result,
--      what comes after the worker in its commit, output, number of the key of results (0 none),
--      then earliest and latest time at which they are right, milliseconds worth a level of
--      priority,
--      then requests: how many; each: worker, ttl ('' never), '1' to leave what it failed itself,
--      filter,
--      then classes of new entries, up to the end: digest, what it is.
-- Replies: as write.lua where every state is '1' and more. Otherwise nothing was written: '0' is
--      refused, and anything else to be written by write.lua.
local FIELDS = 15

local before = answeredBefore()
if before then
  local done = cmsgpack.unpack(before)
  local keys = {}
  for index = 1, #done[4], 3 do keys[#keys + 1] = done[4][index] end
  return { before, pack({ now, done[5] and dueOnes() or {}, describeKeys(keys) }) }
end

local list = cmsgpack.unpack(ARGV[3])
local count, from = list[1], 2
local tail = from + count * FIELDS
local earliest, latest, aging = tonumber(list[tail]), tonumber(list[tail + 1]), tonumber(list[tail + 2])
local requests = {}
local at = tail + 4
for index = 1, list[tail + 3] do
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

-- Of each instance its newest output, then of those that end whether they had events.
local ids, keys, fields, newests = {}, {}, {}, {}
local fieldCount = count
for index = 1, count do
  local at = from + (index - 1) * FIELDS
  local id = list[at]
  local newest = id .. '\0l'
  ids[index] = id
  keys[index] = id .. '\0' .. list[at + 2]
  newests[index] = newest
  fields[index] = newest
end
for index = 1, count do
  if list[from + (index - 1) * FIELDS + 9] ~= '' then
    fieldCount = fieldCount + 1
    fields[fieldCount] = ids[index] .. '\0e'
  end
end
local records = call('HMGET', INSTANCES, unpack(ids))
local claims = call('HMGET', CLAIMS, unpack(keys))
local payloads = call('HMGET', PAYLOADS, unpack(fields))

local states, seen, eventsAt = {}, {}, count
local isInTime = now >= earliest and now <= latest
local areRight = isInTime
for index = 1, count do
  local at = from + (index - 1) * FIELDS
  local id, record, claim, newest = ids[index], records[index], claims[index], payloads[index]
  local expected, task, proof = list[at + 1], list[at + 2], list[at + 3]
  local state, hadEvents = '1', false
  if list[at + 9] ~= '' then
    eventsAt = eventsAt + 1
    hadEvents = payloads[eventsAt]
  end
  if
    not record or sub(record, 1, #expected) ~= expected
    or not claim or sub(claim, 53, 52 + #proof) ~= proof
  then
    state, areRight = '0', false
  elseif
    not isInTime or seen[id] or sub(claim, 1, 15) <= NOW or sub(claim, 31, 31) == ' '
    or hadEvents
    or newest and list[at + 14] == 0 and sub(newest, 1, #task + 1) ~= task .. '\0'
  then
    state, areRight = '?', false
  end
  states[index] = state
  seen[id] = true
end
if not areRight then
  return { pack({ now, table.concat(states), {}, {}, false }), pack({ now, {}, {} }) }
end

local changed, held, expiries, queued, stored, ended = {}, {}, {}, {}, {}, {}
local entered, tokens, isAsked = {}, {}, false
local heldCount, queuedCount, endedCount, storedCount = 0, 0, 0, 0
for index = 1, count do
  local at = from + (index - 1) * FIELDS
  local id = ids[index]
  changed[index * 2 - 1] = id
  changed[index * 2] = list[at + 4]
  local nextTask, place, request = list[at + 5], list[at + 6], requests[list[at + 7]]
  local left = sub(claims[index], 31, 42)
  if nextTask == '' then
    entered[left] = (entered[left] or 0) - 1
  else
    local class = sub(place, 1, 12)
    if class ~= left then
      entered[left] = (entered[left] or 0) - 1
      entered[class] = (entered[class] or 0) + 1
    end
    local key = id .. '\0' .. nextTask
    if list[at + 8] == 1 then
      lastToken = lastToken + 1
      local token = format('%.0f', lastToken)
      tokens[index] = token
      states[index] = '2'
      held[heldCount + 1] = key
      held[heldCount + 2] = request.expires .. NOW .. place .. token .. '\0' .. request.worker .. '\0' .. '1'
      expiries[heldCount + 1] = request.score
      expiries[heldCount + 2] = key
      heldCount = heldCount + 2
    else
      queued[queuedCount + 1] = '0'
      queued[queuedCount + 2] = place .. key
      queuedCount = queuedCount + 2
    end
  end
  if list[at + 9] ~= '' then
    ended[endedCount + 1] = list[at + 9]
    ended[endedCount + 2] = id
    endedCount = endedCount + 2
    stored[storedCount + 1] = id .. '\0f'
    stored[storedCount + 2] = list[at + 10]
    storedCount = storedCount + 2
  end
  if request and not tokens[index] then
    request.wanted = request.wanted + 1
    isAsked = true
  end
end
call('HSET', INSTANCES, unpack(changed))
call('HDEL', CLAIMS, unpack(keys))
call('ZREM', CLAIMED, unpack(keys))
if heldCount > 0 then
  call('HSET', CLAIMS, unpack(held))
  call('ZADD', CLAIMED, unpack(expiries))
end
if queuedCount > 0 then call('ZADD', QUEUE, unpack(queued)) end
if endedCount > 0 then call('ZADD', KEYS[10], unpack(ended)) end
for class, number in pairs(entered) do
  if number ~= 0 then
    local left = call('HINCRBY', CLASSES, 'n' .. class, number)
    if number > 0 and left == number then call('HSET', CLASSES, 't' .. class, classes[class]) end
    if left <= 0 then call('HDEL', CLASSES, 'n' .. class, 't' .. class) end
  end
end

-- The best tasks of any instance, now that all that these commits bring is in the queue: what they
-- are, then their claims.
if isAsked then
  if hasExpiredClaims() then general().requeue(1000) end
  for _, request in ipairs(requests) do
    if request.wanted > 0 then
      request.keys, request.tokens, request.counts =
        take(request, bestTasks(request, request.wanted, aging))
      request.given = 0
    end
  end
end

local ownClaims, dropped, order, others = {}, {}, {}, {}
local ownCount, orderCount = 0, 0
for index = 1, count do
  local at = from + (index - 1) * FIELDS
  local id, task, request = ids[index], list[at + 2], requests[list[at + 7]]
  local token, tail = tokens[index], '-\0'
  if token then
    tail = '=\0' .. list[at + 5] .. '\0' .. token .. '\0'
    ownClaims[ownCount + 1] = tonumber(token)
    ownClaims[ownCount + 2] = 1
    ownCount = ownCount + 2
  elseif request and request.given < #request.keys then
    local number = request.given + 1
    local key, claimed = request.keys[number], request.tokens[number]
    request.given = number
    states[index] = '3'
    tail = '+\0' .. key .. '\0' .. format('%.0f', claimed) .. '\0'
    others[orderCount / 3 + 1] = key
    order[orderCount + 1] = key
    order[orderCount + 2] = claimed
    order[orderCount + 3] = request.counts[number]
    orderCount = orderCount + 3
  end
  -- Put together once, where it is needed: every string that is made is hashed from end to end.
  local newest, resultsKey = payloads[index], KEYS[list[at + 14]]
  local isSame = newest and sub(newest, 1, #task + 1) == task .. '\0'
  if token and resultsKey then
    -- Who goes on with it has it, so nobody needs to find it beside the inputs.
    call('HSET', resultsKey, task, list[at + 11] .. '\0' .. list[at + 3] .. list[at + 12] .. tail .. list[at + 13])
    if isSame then dropped[#dropped + 1] = newests[index] end
  else
    if newest and not isSame then
      local stop = find(newest, '\0', 1, true)
      call('HSET', resultsKey, sub(newest, 1, stop - 1), sub(newest, stop + 1))
    end
    stored[storedCount + 1] = newests[index]
    stored[storedCount + 2] =
      task .. '\0' .. list[at + 11] .. '\0' .. list[at + 3] .. list[at + 12] .. tail .. list[at + 13]
    storedCount = storedCount + 2
  end
end
if storedCount > 0 then call('HSET', PAYLOADS, unpack(stored)) end
if #dropped > 0 then call('HDEL', PAYLOADS, unpack(dropped)) end
local outcome = pack({ now, table.concat(states), ownClaims, order, isAsked })
rememberOutcome(outcome)
announce(queued, classes)
if shared then shared.wake() end
return { outcome, pack({ now, isAsked and dueOnes() or {}, describeKeys(others) }) }
