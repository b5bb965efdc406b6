import { RedisBackend } from '@sayiir/persistence-redis'
import { expect, inject, test } from 'vitest'
import { observer } from './keys.ts'
import { atTask, bytes, completed, failureOf } from './workflows.ts'

const { url } = inject('redis')
const CLAIM = { workerId: 'w', ttlMs: 60_000 }
/** Where the head is in the record of an instance. */
const HEAD = 10
let prefixes = 0

/** Instances of which what is stored of `bad` was written by a newer version. */
async function withBad(ids: readonly string[]): Promise<RedisBackend> {
  prefixes += 1
  const keyPrefix = `unreadable-${process.pid}-${Date.now()}-${prefixes}:`
  const backend = await RedisBackend.connect({ url, keyPrefix })
  for (const id of ids) await backend.saveSnapshot(atTask(id))
  const key = `${keyPrefix}{0}:instances`
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
