-- Starts one instance that has one task (see plain-start.ts), unless there is one of that id: what
-- create.lua does for many, with as little as it takes, since a worker may be waiting for it.
-- KEYS as in prelude.lua.
-- ARGV 1 ring field, 2 number of the call, 3 instance, 4 record, 5 member of the queue, 6 what its
--      class is, 7 earliest and 8 latest time at which it is right, 9 initial input, where there is one
-- Replies: the time, then 1, or 0 for refused.
local call, format, sub = redis.call, string.format, string.sub
local META, CLASSES = KEYS[1], KEYS[7]
local clock = call('TIME')
local time = clock[1] * 1000 + math.floor(clock[2] / 1000)
local now = format('%d', time)
local number = ARGV[2] .. '\0'
local known = call('HGET', META, ARGV[1])
if known and sub(known, 1, #number) == number then return now .. sub(known, -1) end

local id, member, state = ARGV[3], ARGV[5], '0'
if time >= tonumber(ARGV[7]) and time <= tonumber(ARGV[8]) and call('HSETNX', KEYS[2], id, ARGV[4]) == 1 then
  state = '1'
  call('ZADD', KEYS[5], '0', id)
  call('ZADD', KEYS[6], '0', member)
  if ARGV[9] then call('HSET', KEYS[4], id, ARGV[9]) end
  local class = sub(member, 1, 12)
  if call('HINCRBY', CLASSES, 'n' .. class, '1') == 1 then call('HSET', CLASSES, 't' .. class, ARGV[6]) end
  local listeners = call('PUBSUB', 'SHARDNUMSUB', KEYS[11])[2]
  if listeners > 0 then
    call('SPUBLISH', KEYS[11], now .. '\0' .. listeners .. '\0' .. sub(member, 13) .. '\0' .. ARGV[6] .. '\0')
  end
end
call('HSET', META, ARGV[1], number .. now .. '\0' .. state)
return now .. state
