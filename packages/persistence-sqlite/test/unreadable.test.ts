import { DatabaseSync } from 'node:sqlite'
import { createSnapshot, moveTo } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { expect, test } from 'vitest'
import { watched } from './watched.ts'

/** Over long ago. */
const DELAY = {
  kind: 'at-delay',
  delayId: 'd',
  enteredAt: 0,
  wakeAt: 1,
  nextTaskId: null,
} as const
const CLAIM = { workerId: 'w', ttlMs: 60_000 }

function atTask(instanceId: string) {
  const position = { kind: 'at-task', taskId: 'a' } as const
  return createSnapshot({ instanceId, definitionHash: 'd', position })
}

/** Instances of which what is stored of `bad` was written by a newer version. */
async function withBad(
  ids: readonly string[],
  before: (backend: SqliteBackend) => Promise<unknown> = async () => {},
): Promise<SqliteBackend> {
  const database = new DatabaseSync(':memory:')
  const backend = await SqliteBackend.fromClient(database)
  for (const id of ids) await backend.saveSnapshot(atTask(id))
  await before(backend)
  database.exec(`UPDATE sayiir_instance SET head = '{"v":99}' WHERE id = 'bad'`)
  return backend
}

test('an instance that can not be read keeps nobody from the others', async () => {
  await using backend = await withBad(['bad', 'b', 'c', 'd'])
  const found = await backend.findAvailableTasks({ workerId: 'w', limit: 10 })
  expect(found.map(({ instanceId }) => instanceId)).toEqual(['b', 'c', 'd'])
  const several = await backend.claimAvailableTasks({ ...CLAIM, limit: 3 })
  expect(several.map(({ task }) => task.instanceId)).toEqual(['b', 'c'])
  // It is claimed like any other, and so out of the way until that expires.
  const [last] = await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })
  expect(last?.task.instanceId).toBe('d')
})

test('one that is all there is rejects', async () => {
  await using backend = await withBad(['bad'])
  const claiming = backend.claimAvailableTasks({ ...CLAIM, limit: 1 })
  await expect(claiming).rejects.toMatchObject({ code: 'SCHEMA' })
  expect(await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })).toEqual([])
})

test('a repeated commit that brought one lands still', async () => {
  const database = new DatabaseSync(':memory:')
  await using backend = await SqliteBackend.fromClient(database)
  for (const id of ['a', 'b']) await backend.saveSnapshot(atTask(id))
  const [claimed] = await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })
  const claim = claimed?.claim ?? expect.fail()
  const output = new Uint8Array(0)
  const outcome = { kind: 'completed', output, next: { finalOutput: output } } as const
  const commit = { claim, outcome, claimNext: { ttlMs: 60_000 } }
  const first = await backend.commitTask(commit)
  expect(first.next?.task.instanceId).toBe('b')
  database.exec(`UPDATE sayiir_instance SET head = '{"v":99}' WHERE id = 'b'`)
  expect(await backend.commitTask(commit)).toEqual({ ...first, next: null })
})

test('a commit that brings one lands, and says so', async () => {
  await using backend = await withBad(['a', 'bad'])
  const [claimed] = await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })
  const claim = claimed?.claim ?? expect.fail()
  const output = new Uint8Array(0)
  const outcome = { kind: 'completed', output, next: { finalOutput: output } } as const
  const receipt = await backend.commitTask({ claim, outcome, claimNext: { ttlMs: 60_000 } })
  expect(receipt).toMatchObject({ status: 'completed', next: null })
})

test('signals and timers of one stay, and hold nobody up', async () => {
  for (const wait of ['signal', 'timer']) {
    await using backend = await withBad(['bad', 'b'], async (before) => {
      if (wait === 'signal') await before.storeSignal('bad', 'cancel')
      else await before.saveSnapshot(moveTo(atTask('bad'), DELAY))
    })
    const [found] = await backend.findAvailableTasks({ workerId: 'w', limit: 10 })
    expect(found?.instanceId, wait).toBe('b')
    const [claimed] = await backend.claimAvailableTasks({ ...CLAIM, limit: 10 })
    expect(claimed?.task.instanceId, wait).toBe('b')
  }
})

test('however many have signals and timers that are due, the others get theirs', async () => {
  const bad = Array.from({ length: 250 }, (_, index) => `bad-${index}`)
  const database = new DatabaseSync(':memory:')
  await using backend = await SqliteBackend.fromClient(database)
  const timed = (id: string, wakeAt: number) => moveTo(atTask(id), { ...DELAY, wakeAt })
  await Promise.all(bad.map((id) => backend.saveSnapshot(timed(`${id}-timer`, 1))))
  await backend.saveSnapshot(timed('timer', 2))
  await Promise.all(bad.map((id) => backend.saveSnapshot(atTask(`${id}-signal`))))
  await backend.saveSnapshot(atTask('signal'))
  await Promise.all(bad.map((id) => backend.storeSignal(`${id}-signal`, 'cancel')))
  await backend.storeSignal('signal', 'cancel')
  database.exec(`UPDATE sayiir_instance SET head = '{"v":99}' WHERE id LIKE 'bad-%'`)
  await backend.findAvailableTasks({ workerId: 'w', limit: 1 })
  expect((await backend.loadSnapshot('timer')).state.status).toBe('completed')
  expect((await backend.loadSnapshot('signal')).state.status).toBe('cancelled')
})

test('a worker that waits beside one whose timer is due does not ask for the lock all the while', async () => {
  const database = new DatabaseSync(':memory:')
  let locks = 0
  let looks = 0
  const lookedOften = Promise.withResolvers<void>()
  await using backend = await SqliteBackend.fromClient(
    watched(database, (sql) => {
      if (sql === 'BEGIN IMMEDIATE') locks += 1
      if (sql === 'BEGIN') looks += 1
      if (looks === 100) lookedOften.resolve()
    }),
    { pollIntervalMs: 1 },
  )
  await backend.saveSnapshot(moveTo(atTask('bad'), DELAY))
  database.exec(`UPDATE sayiir_instance SET head = '{"v":99}'`)
  locks = 0
  const waiting = backend.waitForWakeup({ timeoutMs: 600_000 })
  await lookedOften.promise
  expect(locks).toBe(1)
  await backend.saveSnapshot(atTask('good'))
  expect(await waiting).toMatchObject({ instanceId: 'good' })
})
