-- Starts instances that have one task (see plain-creations.ts), each unless there is one of that id.
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
