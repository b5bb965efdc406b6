-- Lists instances by id.
-- ARGV 1 where to start, 2 how many to look at, 3 how many to return, 4 how many statuses ('' all),
--      statuses, how many definitions ('' all), definitions
-- Replies: the last id that was looked at ('' at the end), then ids and what comes before the head.
local wanted = {}
local from = 4
for index = 1, 2 do
  local count = ARGV[from]
  from = from + 1
  if count ~= '' then
    wanted[index] = {}
    for _ = 1, tonumber(count) do
      wanted[index][ARGV[from]] = true
      from = from + 1
    end
  end
end
local ids = call('ZRANGEBYLEX', IDS, ARGV[1], '+', 'LIMIT', 0, ARGV[2])
local reply = { #ids == tonumber(ARGV[2]) and ids[#ids] or '' }
local limit = tonumber(ARGV[3])
for index, record in ipairs(readMany(INSTANCES, ids)) do
  local status, definition, last =
    match(record or '', '^.%d+%z[^%z]*%z%d+%z%d+%z(%a)%d+%z%d+%z%d+%z([^%z]*)()')
  if status and (not wanted[1] or wanted[1][status]) and (not wanted[2] or wanted[2][definition]) then
    reply[#reply + 1] = ids[index]
    reply[#reply + 1] = sub(record, 1, last - 1)
    if #reply > limit * 2 then
      reply[1] = ids[index]
      break
    end
  end
end
return reply
