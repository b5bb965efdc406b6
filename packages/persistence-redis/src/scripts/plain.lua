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
