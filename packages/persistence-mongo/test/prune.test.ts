import { createSnapshot } from '@sayiir/persistence-core'
import { MongoBackend } from '@sayiir/persistence-mongo'
import { expect, test } from 'vitest'
import { TestCollections } from './collections.ts'
import { interleaved } from './interleaved.ts'
import { DATABASE } from './process.ts'

const output = new Uint8Array(0)

function atTask(instanceId: string) {
  const position = { kind: 'at-task', taskId: 'a' } as const
  return createSnapshot({ instanceId, definitionHash: 'd', position })
}

/**
 * Prunes while `i`, which has ended, is started anew. It was claimed just now or has parts, so it does
 * not go together with others: it is looked at once more, and starts anew behind that look.
 */
async function pruneWhile(t: TestCollections, backend: MongoBackend, restart: () => Promise<void>) {
  let looks = 0
  const client = interleaved(t.client, 'instances', async (docs) => {
    if (!docs.some(({ _id }) => _id === 'i')) return
    looks += 1
    if (looks !== 2) return
    await backend.deleteSnapshot('i')
    await restart()
  })
  const options = { database: DATABASE, collectionPrefix: t.prefix }
  await using pruner = await MongoBackend.fromClient(client, options)
  const endedBefore = (await backend.loadSnapshot('i')).updatedAt + 1
  const pruned = await pruner.prune({ endedBefore })
  expect(looks).toBe(2)
  return pruned
}

test('M1 an instance that is deleted and started anew while it is pruned is not touched', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  await backend.saveSnapshot(atTask('i'))
  const [held] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 60_000 })
  const { claim } = held ?? expect.fail()
  const outcome = { kind: 'completed', output, next: { finalOutput: output } } as const
  await backend.commitTask({ claim, outcome })
  const pruned = await pruneWhile(t, backend, async () => {
    await backend.saveSnapshot(atTask('i'))
  })
  expect(pruned).toEqual({ deleted: 0, more: false })
  expect((await backend.loadSnapshot('i')).state.status).toBe('in-progress')
})

test('M1 so is one that has grown parts', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  const large = new Uint8Array(100_000)
  const start = async (): Promise<void> => {
    await backend.saveSnapshot({ ...atTask('i'), initialInput: large })
  }
  await start()
  await backend.storeSignal('i', 'cancel')
  await backend.checkAndCancel('i')
  const pruned = await pruneWhile(t, backend, start)
  expect(pruned).toEqual({ deleted: 0, more: false })
  const there = await backend.loadSnapshot('i')
  expect(there.state.status).toBe('in-progress')
  expect(there.initialInput).toEqual(large)
})
