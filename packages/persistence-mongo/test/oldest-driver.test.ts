import { createSnapshot, type PersistentBackend } from '@sayiir/persistence-core'
import { MongoBackend } from '@sayiir/persistence-mongo'
import { expect, test, vi } from 'vitest'
import { TestCollections } from './collections.ts'

// The lowest version of the driver that package.json lets a user have, in the sources too.
vi.mock('mongodb', () => import('mongodb-oldest'))

const CLAIM = { workerId: 'w', limit: 1, ttlMs: 60_000 }
const OUTPUT = new Uint8Array([0, 255])

function atTask(instanceId: string, priority: number) {
  const position = { kind: 'at-task', taskId: 'a' } as const
  return createSnapshot({ instanceId, definitionHash: 'd', position, priority })
}

/** Runs from their start to their end: the best is claimed, and the next with its commit, sent twice as after a lost reply. */
async function runThrough(backend: PersistentBackend): Promise<void> {
  const woken = backend.waitForWakeup({ timeoutMs: 60_000 })
  await backend.saveSnapshot(atTask('later', 4))
  expect(await woken).not.toBeNull()
  await backend.saveSnapshot(atTask('sooner', 1))
  const [first] = await backend.claimAvailableTasks(CLAIM)
  const claim = first?.claim ?? expect.fail()
  expect(claim.instanceId).toBe('sooner')
  await backend.renewTaskClaim(claim, 60_000)
  const outcome = { kind: 'completed', output: OUTPUT, next: { finalOutput: OUTPUT } } as const
  const commit = { claim, outcome, claimNext: { ttlMs: 60_000 } }
  const receipt = await backend.commitTask(commit)
  expect(receipt.next?.task.instanceId).toBe('later')
  expect(await backend.commitTask(commit)).toEqual(receipt)
  const { state } = await backend.loadSnapshot('sooner')
  expect(state).toMatchObject({ status: 'completed', finalOutput: OUTPUT })
}

test('runs on a client of our own', async () => {
  await using collections = new TestCollections()
  await runThrough(await collections.open())
})

test('runs on a client of the user’s', async () => {
  await using collections = new TestCollections()
  const { client, options } = collections
  await using backend = await MongoBackend.fromClient(client, options)
  await runThrough(backend)
})

test('a server that is not there is UNAVAILABLE', async () => {
  const connecting = MongoBackend.connect({ url: 'mongodb://127.0.0.1:1', timeoutMs: 1000 })
  await expect(connecting).rejects.toMatchObject({ code: 'UNAVAILABLE' })
})
