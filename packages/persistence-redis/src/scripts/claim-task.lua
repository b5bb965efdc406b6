-- Claims one task if it is available.
-- ARGV 1 ring field, 2 number of the call, 3 latest time at which anybody waits for the reply,
--      4 instance, 5 task, 6 worker, 7 ttl ('' never)
-- Replies: MessagePack of when it was, outcome, token and deliveries; MessagePack of the time, and
--      what describe gives.
local id, task = ARGV[4], ARGV[5]
local key = id .. '\0' .. task
local outcome = answered()
if not outcome then
  local function claim()
    local record = call('HGET', INSTANCES, id)
    if not record then return 'missing' end
    local status, cancel, pause =
      match(record, '^.%d+%z[^%z]*%z%d+%z%d+%z(%a)%d+%z%d+%z%d+%z[^%z]*%z([^%z]*)%z([^%z]*)%z')
    if status ~= 'i' or cancel ~= '' or pause ~= '' or now > tonumber(ARGV[3]) then return 'unavailable' end
    for _, entry in ipairs(entriesOf(id, record)) do
      if entry.key == key or entry.key == id .. '\0' then
        if sinceOf(entry.place) > now then return 'unavailable' end
        if entry.key ~= key then return 'timer' end
        local value = call('HGET', CLAIMS, key)
        if value and isLive(claimOf(value)) then return 'unavailable' end
        if entry.flag == 't' then return 'timer' end
        local _, tokens, counts = hold({ entry.place .. key }, ARGV[6], expiryOf(ARGV[7]))
        return 'claimed', tokens[1], counts[1]
      end
    end
    return 'unavailable'
  end
  local name, token, deliveries = claim()
  saveToken()
  outcome = remember({ now, name, token or 0, deliveries or 0 })
end
local isClaimed = cmsgpack.unpack(outcome)[2] == 'claimed'
return { outcome, cmsgpack.pack({ now, describe(isClaimed and { key } or {}) }) }
