-- Commits of plain steps (see plain-commits.ts) of several instances, and claims what they ask for:
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
