import { createSnapshot } from '@sayiir/persistence-core'
import type { MongoBackend } from '@sayiir/persistence-mongo'
import { expect, test } from 'vitest'
import { TestCollections } from './collections.ts'

const CLAIM = { workerId: 'w', ttlMs: 60_000 }
const output = new Uint8Array(0)

/** Instances of which `bad` was written by a newer version. */
async function withBad(t: TestCollections, ids: readonly string[]): Promise<MongoBackend> {
  const backend = await t.open()
  const position = { kind: 'at-task', taskId: 'a' } as const
  for (const instanceId of ids)
    await backend.saveSnapshot(createSnapshot({ instanceId, definitionHash: 'd', position }))
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
