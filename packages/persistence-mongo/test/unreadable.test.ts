import { completeTask, createSnapshot, moveTo } from '@sayiir/persistence-core'
import type { MongoBackend } from '@sayiir/persistence-mongo'
import { describe, expect, test } from 'vitest'
import { TestCollections } from './collections.ts'

const CLAIM = { workerId: 'w', ttlMs: 60_000 }
const output = new Uint8Array(0)

function atTask(instanceId: string) {
  const position = { kind: 'at-task', taskId: 'a' } as const
  return createSnapshot({ instanceId, definitionHash: 'd', position })
}

/** Instances of which `bad` was written by a newer version. */
async function withBad(t: TestCollections, ids: readonly string[]): Promise<MongoBackend> {
  const backend = await t.open()
  for (const instanceId of ids) await backend.saveSnapshot(atTask(instanceId))
  await t.instances.updateOne({ _id: 'bad' }, { $set: { v: 99 } })
  return backend
}

test('an instance that can not be read keeps nobody from the others', async () => {
  await using t = new TestCollections()
  const backend = await withBad(t, ['a', 'bad', 'c', 'd', 'e', 'f'])
  const found = await backend.findAvailableTasks({ workerId: 'w', limit: 10 })
  expect(found.map(({ instanceId }) => instanceId)).toEqual(['a', 'c', 'd', 'e', 'f'])
  const several = await backend.claimAvailableTasks({ ...CLAIM, limit: 3 })
  expect(several.map(({ task }) => task.instanceId)).toEqual(['a', 'c', 'd'])
  // It is claimed like any other, and so out of the way until that expires.
  const [other] = await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })
  expect(other?.task.instanceId).toBe('e')
})

test('a claim of one that comes to it goes on with the next', async () => {
  await using t = new TestCollections()
  const backend = await withBad(t, ['bad', 'b'])
  const [claimed] = await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })
  expect(claimed?.task.instanceId).toBe('b')
})

test('one that is all there is rejects, but no commit that brings it', async () => {
  await using t = new TestCollections()
  const backend = await withBad(t, ['bad'])
  const claiming = backend.claimAvailableTasks({ ...CLAIM, limit: 1 })
  await expect(claiming).rejects.toMatchObject({ code: 'SCHEMA' })
  expect(await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })).toEqual([])
  await using other = new TestCollections()
  const committing = await withBad(other, ['a', 'bad'])
  const [claimed] = await committing.claimAvailableTasks({ ...CLAIM, limit: 1 })
  const claim = claimed?.claim ?? expect.fail()
  const outcome = { kind: 'completed', output, next: { finalOutput: output } } as const
  const receipt = await committing.commitTask({ claim, outcome, claimNext: { ttlMs: 60_000 } })
  expect(receipt).toMatchObject({ status: 'completed', next: null })
})

describe('an instance of which a payload is missing', () => {
  const told = { code: 'SERIALIZATION' }

  test('is told as damaged, and can be deleted', async () => {
    await using t = new TestCollections()
    const backend = await t.open()
    await backend.saveSnapshot({ ...atTask('bad'), initialInput: new Uint8Array(100_000) })
    await t.parts.deleteMany({})
    const other = await t.open()
    await expect(other.loadSnapshot('bad')).rejects.toMatchObject({ ...told, instanceId: 'bad' })
    await expect(other.storeSignal('bad', 'cancel')).rejects.toMatchObject(told)
    await other.deleteSnapshot('bad')
  })

  test('is told as damaged where it is of an output', async () => {
    await using t = new TestCollections()
    const backend = await t.open()
    await backend.saveSnapshot(completeTask(atTask('bad'), 'b', new Uint8Array(100_000)))
    await t.parts.deleteMany({})
    const other = await t.open()
    await expect(other.loadTaskResult('bad', 'b')).rejects.toMatchObject(told)
    await expect(other.loadSnapshot('bad')).rejects.toMatchObject(told)
  })

  test('is told as damaged where it is of an event that it waits for', async () => {
    await using t = new TestCollections()
    const backend = await t.open()
    await backend.saveSnapshot(atTask('bad'))
    await backend.sendEvent('bad', 'go', new Uint8Array(100_000))
    await t.parts.deleteMany({})
    const other = await t.open()
    const parked = moveTo(await other.loadSnapshot('bad'), {
      ...{ kind: 'at-signal', signalId: 's', signalName: 'go', wakeAt: null, nextTaskId: 'b' },
    } as const)
    await expect(other.saveSnapshot(parked)).rejects.toMatchObject(told)
  })
})
