-- Removes everything of an instance.
local function removeInstance(id, record, results, events)
  for _, entry in ipairs(entriesOf(id, record)) do
    call('HDEL', CLAIMS, entry.key)
    call('ZREM', CLAIMED, entry.key)
    dequeue(entry.key, entry.place)
    leave(entry.key, entry.place)
  end
  if match(record, '^.%d+%z[^%z]*%z%d+%z%d+%z(%a)') == 'p' then call('HINCRBY', META, 'paused', -1) end
  call('ZREM', IDS, id)
  call('ZREM', ENDED, id)
  call('ZREM', DUE, 's' .. id)
  call('HDEL', INSTANCES, id)
  call('HDEL', PAYLOADS, id, id .. '\0l', id .. '\0f', id .. '\0e')
  call('UNLINK', results)
  if events then call('UNLINK', events) end
end
