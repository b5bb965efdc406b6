-- Tells those who wait, if anybody does, of members of the queue: every other value of a list, from
-- the second after start on.
local function announce(list, start, count, classes)
  if count == 0 then return end
  local listeners = call('PUBSUB', 'SHARDNUMSUB', KEYS[11])[2]
  if listeners == 0 then return end
  local lines = {}
  for index = 1, math.min(count, 16) do
    local member = list[start + index * 2]
    lines[index] = { sub(member, 13, 22), sub(member, 23), classes[sub(member, 1, 12)] }
  end
  call('SPUBLISH', KEYS[11], cjson.encode({ format('%d', now), listeners, lines }))
end
