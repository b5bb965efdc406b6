-- Outputs and the records of last commits: a hash of the instance's own, task -> order, commit,
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
