-- Writes changes of several instances, each if what was read is still there, and claims what they ask for.
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
