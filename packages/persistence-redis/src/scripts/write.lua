-- Writes changes of several instances, each if what was read is still there, and claims what they ask for.
-- KEYS 12… results, and where they are needed events, of the instances
-- ARGV 1 ring field, 2 number of the call, 3 milliseconds worth a level of priority,
--      then requests: how many; each: worker, ttl ('' never), '1' to leave what
--      it failed itself, filter,
--      then writes: how many; each as read below.
-- Replies: time; of each write '0' (refused), '1', '2' (a task of its own claimed), '3' (another's);
--      due instances ('' unless a task was asked for); claims of own tasks; entry keys and claims of
--      others', and their records, payloads and claims (see describe); whether something was left.
local aging = tonumber(ARGV[3])
local from = 4

local function arg()
  from = from + 1
  return ARGV[from - 1]
end

local requests = {}
for index = 1, tonumber(arg()) do
  local request = { worker = arg(), ttl = arg(), skipsOwn = arg() == '1' }
  request.filter, from = readFilter(from)
  requests[index] = request
end

local writes = tonumber(arg())
local outcome = answered()
if not outcome then
  local states, ownKeys, ownClaims, otherKeys, otherClaims = {}, {}, {}, {}, {}
  local unfinished = {}

  for index = 1, writes do
    local id, expected, at, tolerance = arg(), arg(), tonumber(arg()), tonumber(arg())
    local holder = arg()
    local heldKey, heldToken, held
    if holder ~= '' then heldKey, heldToken = id .. '\0' .. arg(), arg() end
    local stored = call('HGET', INSTANCES, id)
    local isRight = math.abs(now - at) <= tolerance
    if expected == '' then
      isRight = isRight and not stored
    else
      isRight = isRight and stored and sub(stored, 1, #expected) == expected
    end
    if isRight and heldKey then
      local value = call('HGET', CLAIMS, heldKey)
      held = value and claimOf(value)
      isRight = held and held.worker == holder and (heldToken == '' or held.token == heldToken)
    end
    states[index] = isRight and '1' or '0'

    local record, isOpen = arg(), arg() ~= ''
    local resultsKey, eventsKey = KEYS[tonumber(arg())], KEYS[tonumber(arg())]
    local request = requests[tonumber(arg())]
    local own, ownPlace, ownIsNew
    if request then own, ownPlace = arg(), arg() end

    local forgotten = {}
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
            forgotten[#forgotten + 1] = { task, tonumber(claim.token) }
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
        if eventsKey then call('UNLINK', eventsKey) end
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

    local removed, removedTasks = arg(), {}
    if removed ~= 'all' then
      for number = 1, tonumber(removed) do removedTasks[number] = arg() end
    end
    local results = {}
    for number = 1, tonumber(arg()) do results[number] = { arg(), arg(), arg() } end
    local taken = arg()
    local eventName, eventId, payload = arg(), nil, nil
    if eventName ~= '' then
      eventId = arg()
      if arg() == '1' then payload = arg() end
    end
    local committed, commit = arg(), nil
    if committed ~= '' then commit = { arg(), arg(), arg() } end

    if isRight then
      if taken ~= '' then popEvent(eventsKey, taken) end
      if eventName ~= '' and endedScore == '' then pushEvent(eventsKey, eventName, eventId, payload) end
      local claimed
      if ownIsNew then
        local key, expires = id .. '\0' .. own, expiryOf(request.ttl)
        claimed = { token = nextToken(), deliveries = '1', expires = expires, at = digits(now), worker = request.worker, place = ownPlace }
        call('HSET', CLAIMS, key, claimText(claimed))
        call('ZADD', CLAIMED, expires == '' and '+inf' or expires, key)
      elseif request and own ~= '' then
        local key = id .. '\0' .. own
        local value = call('HGET', CLAIMS, key)
        if not value or not isLive(claimOf(value)) then
          local _, values = hold({ ownPlace .. key }, request.worker, expiryOf(request.ttl))
          claimed = claimOf(values[1])
        end
      end
      if claimed then
        states[index] = '2'
        ownKeys[#ownKeys + 1] = id .. '\0' .. own
        ownClaims[#ownClaims + 1] = claimText(claimed)
      end
      unfinished[#unfinished + 1] = {
        index = index, id = id, key = resultsKey, request = request, isNew = expected == '',
        own = own, claimed = claimed, removed = removed, removedTasks = removedTasks, results = results,
        forgotten = forgotten, committed = committed, commit = commit,
      }
    end
  end

  -- The best tasks of any instance, once all that these writes bring is in the queue.
  local finders, wanted = {}, {}
  for _, write in ipairs(unfinished) do
    if write.request and not write.claimed then wanted[write.request] = (wanted[write.request] or 0) + 1 end
  end
  local isAsked = false
  for _, request in ipairs(requests) do
    if wanted[request] then
      if not isAsked then requeue(CHUNK) end
      isAsked = true
    end
  end
  for _, write in ipairs(unfinished) do
    local request = write.request
    local claimedInstance, claimedTask, claimedToken
    if write.claimed then
      claimedInstance, claimedTask, claimedToken = write.id, write.own, write.claimed.token
    elseif request then
      -- Another request's finder does not know what was claimed since it was made.
      local found = finders[request]
      if not found or found.isStale then
        found = { next = finder(request.filter, request.worker, aging, wanted[request], request.skipsOwn) }
        finders[request] = found
      end
      local member = found.next()
      if member then
        for other, one in pairs(finders) do one.isStale = other ~= request end
        local keys, values = hold({ member }, request.worker, expiryOf(request.ttl))
        local at = find(keys[1], '\0', 1, true)
        claimedInstance, claimedTask = sub(keys[1], 1, at - 1), sub(keys[1], at + 1)
        claimedToken = match(values[1], '^%d+')
        states[write.index] = '3'
        otherKeys[#otherKeys + 1] = keys[1]
        otherClaims[#otherClaims + 1] = values[1]
      end
    end

    if write.removed ~= '0' or #write.results > 0 or write.commit or #write.forgotten > 0 then
      local results = openResults(write.id, write.key)
      for _, one in ipairs(write.forgotten) do
        if one[1] ~= write.committed then results.forget(one[1], one[2]) end
      end
      if write.removed == 'all' then
        results.clearAll()
      else
        for _, task in ipairs(write.removedTasks) do results.clear(task) end
      end
      local commitText
      if write.commit then
        local sign, tail = '-', ''
        if claimedInstance == write.id then
          sign, tail = '=', claimedTask .. '\0' .. claimedToken .. '\0'
        elseif claimedInstance then
          sign, tail = '+', claimedInstance .. '\0' .. claimedTask .. '\0' .. claimedToken .. '\0'
        end
        commitText = write.commit[1] .. '\0' .. write.commit[2] .. sign .. '\0' .. write.commit[3] .. '\0' .. tail
      end
      local isCommitStored = false
      for number, result in ipairs(write.results) do
        local task = result[1]
        local mine = '\0'
        if task == write.committed then
          mine, isCommitStored = commitText, true
        elseif not write.isNew then
          local old = results.get(task)
          if old then local _, kept = partsOf(old) mine = kept end
        end
        local value = result[2] .. '\0' .. mine .. result[3]
        if number == #write.results then results.push(task, value) else results.set(task, value) end
      end
      if commitText and not isCommitStored then
        local old = results.get(write.committed)
        local order, output = '', ''
        if old then
          local _
          order, _, output = partsOf(old)
        end
        results.set(write.committed, order .. '\0' .. commitText .. output)
      end
    end
  end

  saveToken()
  outcome = { states, ownKeys, ownClaims, otherKeys, otherClaims, isAsked, leftOwn and 1 or 0 }
  remember(outcome)
  wake()
end

local records, payloads, claims = describe(outcome[4])
return { digits(now), outcome[1], outcome[6] and dueInstances() or {}, outcome[3], outcome[4], outcome[5], records, payloads, claims, outcome[7] }
