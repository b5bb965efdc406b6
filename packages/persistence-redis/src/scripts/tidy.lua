-- Forgets what clients were answered that are gone: some of them each time, or those that are named.
-- ARGV 1… fields
if #ARGV > 0 then return call('HDEL', META, unpack(ARGV)) end
local removed = 0
local fields = call('HRANDFIELD', META, 20, 'WITHVALUES')
for index = 1, #fields, 2 do
  local at = sub(fields[index], 1, 2) == 's:' and match(fields[index + 1], '^%d+%z(%d+)%z')
  if at and now - tonumber(at) > 3600000 then removed = removed + call('HDEL', META, fields[index]) end
end
return removed
