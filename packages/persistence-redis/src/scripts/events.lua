-- Events of an instance, a hash of its own: by name which numbers wait ('q', name), payloads ('p',
-- name, number), and ids that were sent ('i', name, id). A payload of the instance (zero byte and
-- 'e') tells that there may be one.
local function pushEvent(instance, key, name, id, payload)
  call('HSET', PAYLOADS, instance .. '\0e', '')
  if payload then
    local first, last = match(call('HGET', key, 'q\0' .. name) or '1 0', '^(%d+) (%d+)$')
    last = digits(last + 1)
    call('HSET', key, 'q\0' .. name, first .. ' ' .. last, 'p\0' .. name .. '\0' .. last, payload)
  end
  if id ~= '' then call('HSET', key, 'i\0' .. name .. '\0' .. id, '') end
end

local function popEvent(key, name)
  local first, last = match(call('HGET', key, 'q\0' .. name) or '', '^(%d+) (%d+)$')
  if not first then return nil end
  local field = 'p\0' .. name .. '\0' .. first
  local payload = call('HGET', key, field)
  call('HDEL', key, field)
  if first == last then
    call('HDEL', key, 'q\0' .. name)
  else
    call('HSET', key, 'q\0' .. name, digits(first + 1) .. ' ' .. last)
  end
  return payload
end
