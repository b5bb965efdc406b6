import type { Place } from '@sayiir/bench'
import { RedisBackend } from '@sayiir/persistence-redis'
import { Redis } from 'ioredis'

/** Copies of one script: few enough that others get their turn. */
const CHUNK = 5000

/** KEYS instances, payloads, ids, queue, classes. ARGV instance, first number, last number. */
const CLONE = `
local id = ARGV[1]
local record = redis.call('HGET', KEYS[1], id)
local input = redis.call('HGET', KEYS[2], id)
local digest
for number = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  local copy = id .. '-' .. string.format('%07d', number)
  redis.call('HSET', KEYS[1], copy, record)
  if input then redis.call('HSET', KEYS[2], copy, input) end
  redis.call('ZADD', KEYS[3], 0, copy)
  local from = 1
  for _ = 1, 11 do from = string.find(record, '\\0', from, true) + 1 end
  local task, place = string.match(record, '^([^%z]*)%z([^%z]*)%z', from)
  redis.call('ZADD', KEYS[4], 0, place .. copy .. '\\0' .. task)
  digest = string.sub(place, 1, 12)
end
redis.call('HINCRBY', KEYS[5], 'n' .. digest, ARGV[3] - ARGV[2] + 1)`

function prefixOf({ namespace }: Place): string {
  return `${namespace}:`
}

export function connect(place: Place): Promise<RedisBackend> {
  return RedisBackend.connect({ url: place.url, keyPrefix: prefixOf(place) })
}

export async function drop(place: Place): Promise<void> {
  const redis = new Redis(place.url)
  for await (const keys of redis.scanStream({ match: `${prefixOf(place)}*`, count: 1000 })) {
    if (keys.length > 0) await redis.unlink(keys)
  }
  redis.disconnect()
}

/** Copies an instance inside the server, which is faster than saving a million. */
export async function clone(place: Place, id: string, count: number): Promise<void> {
  const redis = new Redis(place.url)
  const keys = ['instances', 'payloads', 'ids', 'queue', 'classes'].map(
    (name) => `${prefixOf(place)}{0}:${name}`,
  )
  for (let from = 1; from <= count; from += CHUNK) {
    await redis.eval(CLONE, keys.length, ...keys, id, from, Math.min(from + CHUNK - 1, count))
  }
  redis.disconnect()
}
