-- What every script on a shard begins with.
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
