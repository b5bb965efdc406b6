import { RedisBackend } from '@sayiir/persistence-redis'
import { expect, inject, test } from 'vitest'
import { Layout } from '../src/layout.ts'
import { observer } from './keys.ts'
import { atTask, bytes, completed, failureOf } from './workflows.ts'

const { url } = inject('redis')
const CLAIM = { workerId: 'w', ttlMs: 60_000 }
/** Which of a shard's keys has the instances. */
const INSTANCES = 1
/** Where the head is in the record of an instance. */
const HEAD = 10
let prefixes = 0

/** Instances of which what is stored of `bad` was written by a newer version. */
async function withBad(ids: readonly string[], shards = 1): Promise<RedisBackend> {
  prefixes += 1
  const keyPrefix = `unreadable-${process.pid}-${Date.now()}-${prefixes}:`
  const backend = await RedisBackend.connect({ url, keyPrefix, shards })
  for (const id of ids) await backend.saveSnapshot(atTask(id))
  const key = new Layout(keyPrefix, shards).shardOf('bad').keys[INSTANCES] ?? ''
  const fields = (await observer(url).hget(key, 'bad'))?.split('\0') ?? []
  fields[HEAD] = '{"v":99}'
  await observer(url).hset(key, 'bad', fields.join('\0'))
  return backend
}

test('an instance that can not be read keeps nobody from the others', async () => {
  await using backend = await withBad(['a', 'bad', 'c', 'd'])
  const found = await backend.findAvailableTasks({ workerId: 'w', limit: 10 })
  expect(found.map(({ instanceId }) => instanceId)).toEqual(['a', 'c', 'd'])
  const several = await backend.claimAvailableTasks({ ...CLAIM, limit: 3 })
  expect(several.map(({ task }) => task.instanceId)).toEqual(['a', 'c'])
  // It is claimed like any other, and so out of the way until that expires.
  const [last] = await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })
  expect(last?.task.instanceId).toBe('d')
})

test('one that is all there is rejects', async () => {
  await using backend = await withBad(['bad'])
  const failure = await failureOf(backend.claimAvailableTasks({ ...CLAIM, limit: 1 }))
  expect(failure).toMatchObject({ code: 'SCHEMA' })
  expect(await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })).toEqual([])
})

test.each([
  ['plain', []],
  ['with events', ['go']],
])('a commit that brings one lands, and says so: %s', async (_, events) => {
  await using backend = await withBad(['a', 'bad'])
  for (const name of events) await backend.sendEvent('a', name, bytes('e'))
  const [claimed] = await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })
  const claim = claimed?.claim ?? expect.fail()
  const outcome = completed('out', null)
  const receipt = await backend.commitTask({ claim, outcome, claimNext: { ttlMs: 60_000 } })
  expect(receipt).toMatchObject({ status: 'completed', next: null })
})

test('a commit lands that brings one from another shard', async () => {
  const shards = 8
  const layout = new Layout('', shards)
  const ids = Array.from({ length: 100 }, (_, index) => `i${index}`)
  const elsewhere = ids.find((id) => layout.shardOf(id) !== layout.shardOf('bad')) ?? ''
  await using backend = await withBad(['bad', elsewhere], shards)
  const claim = await backend.claimTask({ ...CLAIM, instanceId: elsewhere, taskId: 'a' })
  if (claim === null) expect.fail('it should be free')
  const outcome = completed('out', null)
  const receipt = await backend.commitTask({ claim, outcome, claimNext: { ttlMs: 60_000 } })
  expect(receipt).toMatchObject({ status: 'completed', next: null })
})

test('one that is all there is in its shard keeps nobody from those of others', async () => {
  const ids = Array.from({ length: 20 }, (_, index) => `i${index}`)
  const layout = new Layout('', 8)
  const others = ids.filter((id) => layout.shardOf(id) !== layout.shardOf('bad'))
  await using backend = await withBad(['bad', ...others], 8)
  const found = await backend.findAvailableTasks({ workerId: 'w', limit: 100 })
  expect(found.map(({ instanceId }) => instanceId).toSorted()).toEqual(others.toSorted())
  const claimed = await backend.claimAvailableTasks({ ...CLAIM, limit: 100 })
  expect(claimed.map(({ task }) => task.instanceId).toSorted()).toEqual(others.toSorted())
})
