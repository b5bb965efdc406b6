import { RedisBackend } from '@sayiir/persistence-redis'
import { afterEach, expect, inject, test } from 'vitest'
import { keysOf } from './keys.ts'
import { atTask, bytes } from './workflows.ts'

const { url } = inject('redis')
const open: RedisBackend[] = []

async function connect(keyPrefix: string): Promise<RedisBackend> {
  const backend = await RedisBackend.connect({ url, keyPrefix })
  open.push(backend)
  return backend
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((backend) => backend.close()))
})

test('D10 instances that start together: one that is there already is refused alone', async () => {
  const keyPrefix = `start-${process.pid}-${Date.now()}-some:`
  const backend = await connect(keyPrefix)
  const other = await connect(keyPrefix)
  await other.saveSnapshot(atTask('there'))
  const ids = ['a', 'there', 'b', 'c']
  const settled = await Promise.allSettled(
    ids.map((id) => backend.saveSnapshot(atTask(id), { expectedRevision: 0 })),
  )
  expect(settled.map(({ status }) => status)).toEqual([
    'fulfilled',
    'rejected',
    'fulfilled',
    'fulfilled',
  ])
  expect(settled[1]).toMatchObject({ reason: { code: 'CONFLICT', instanceId: 'there' } })
  expect(await backend.stats()).toMatchObject({ available: 4, byStatus: { 'in-progress': 4 } })
})

test('D2 instances of several classes that start together are each in their place, with their input', async () => {
  const keyPrefix = `start-${process.pid}-${Date.now()}-classes:`
  const backend = await connect(keyPrefix)
  await Promise.all([
    backend.saveSnapshot({ ...atTask('five'), priority: 5 }),
    backend.saveSnapshot({ ...atTask('one'), priority: 1, initialInput: null }),
    backend.saveSnapshot({ ...atTask('tagged'), priority: 1, tags: ['gpu'] }),
    backend.saveSnapshot({ ...atTask('two'), priority: 2, initialInput: bytes('') }),
    backend.saveSnapshot({ ...atTask('ü'), definitionHash: 'definition-2', priority: 3 }),
  ])
  const tasks = await backend.claimAvailableTasks({
    workerId: 'w',
    limit: 9,
    ttlMs: 60_000,
    tags: [],
  })
  expect(
    tasks.map(({ task, head }) => [task.instanceId, task.priority, head.initialInput]),
  ).toEqual([
    ['one', 1, null],
    ['two', 2, bytes('')],
    ['ü', 3, bytes('in')],
    ['five', 5, bytes('in')],
  ])
  expect(await backend.loadSnapshot('tagged')).toMatchObject({ revision: 1, tags: ['gpu'] })
})

test('S8 instances that started together leave nothing behind', async () => {
  const keyPrefix = `start-${process.pid}-${Date.now()}-left:`
  const backend = await connect(keyPrefix)
  const ids = Array.from({ length: 20 }, (_, index) => `i${index}`)
  const start = (): Promise<unknown> =>
    Promise.all(
      ids.map((id, index) => backend.saveSnapshot({ ...atTask(id), priority: (index % 5) + 1 })),
    )
  await start()
  await Promise.all(ids.map((id) => backend.deleteSnapshot(id)))
  await start()
  expect(await backend.findAvailableTasks({ workerId: 'w', limit: 30 })).toHaveLength(20)
  await Promise.all(ids.map((id) => backend.deleteSnapshot(id)))
  expect(await keysOf(url, keyPrefix)).toEqual([`${keyPrefix}format`, `${keyPrefix}{0}:meta`])
})
