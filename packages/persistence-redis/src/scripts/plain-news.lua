-- Tells those who wait, if anybody does, of members of the queue: every other value of a list, from
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
