-- Claims one task if it is available.
-- ARGV 1 ring field, 2 number of the call, 3 latest time at which anybody waits for the reply,
--      4 instance, 5 task, 6 worker, 7 ttl ('' never)
-- Replies: time, outcome, claim, then records, inputs and newest outputs, claims (see describe).
local id, task = ARGV[4], ARGV[5]
local key = id .. '\0' .. task
local outcome = answered()
if not outcome then
  local function claim()
    local record = call('HGET', INSTANCES, id)
    if not record then return 'missing', '' end
    local status, cancel, pause =
      match(record, '^%d+%z[^%z]*%z%d+%z%d+%z(%a)%d+%z%d+%z%d+%z[^%z]*%z([^%z]*)%z([^%z]*)%z')
    if status ~= 'i' or cancel ~= '' or pause ~= '' or now > tonumber(ARGV[3]) then return 'unavailable', '' end
    for _, entry in ipairs(entriesOf(id, record)) do
      if entry.key == key or entry.key == id .. '\0' then
        if sinceOf(entry.place) > now then return 'unavailable', '' end
        if entry.key ~= key then return 'timer', '' end
        local value = call('HGET', CLAIMS, key)
        if value and isLive(claimOf(value)) then return 'unavailable', '' end
        if entry.flag == 't' then return 'timer', '' end
        local _, values = hold({ entry.place .. key }, ARGV[6], expiryOf(ARGV[7]))
        return 'claimed', values[1]
      end
    end
    return 'unavailable', ''
  end
  outcome = { claim() }
  saveToken()
  remember(outcome)
end
local records, payloads, claims = describe(outcome[1] == 'claimed' and { key } or {})
return { digits(now), outcome[1], outcome[2], records, payloads, claims }
