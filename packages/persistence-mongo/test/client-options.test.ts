import { createSnapshot } from '@sayiir/persistence-core'
import { MongoBackend } from '@sayiir/persistence-mongo'
import { MongoClient, type MongoClientOptions } from 'mongodb'
import { expect, test } from 'vitest'
import { TestCollections } from './collections.ts'
import { DATABASE } from './process.ts'

const OTHERS: readonly MongoClientOptions[] = [
  { promoteBuffers: true },
  { useBigInt64: true },
  { promoteLongs: false },
  { promoteValues: false },
  { ignoreUndefined: true },
  { raw: true },
  { fieldsAsRaw: { h: true } },
  { readPreference: 'secondaryPreferred' },
]

test.each(OTHERS)(
  'a client of the user’s that reads values in its own way (%o)',
  async (options) => {
    await using t = new TestCollections()
    await using client = new MongoClient(t.url, options)
    const backend = await MongoBackend.fromClient(client, {
      database: DATABASE,
      collectionPrefix: t.prefix,
    })
    const initialInput = new Uint8Array([1, 2, 3])
    await backend.saveSnapshot(
      createSnapshot({
        instanceId: 'i',
        definitionHash: 'd',
        initialInput,
        position: { kind: 'at-task', taskId: 'a' },
      }),
    )
    const [first] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 60_000 })
    const { claim, task } = first ?? expect.fail()
    expect(task.input).toEqual(initialInput)
    const output = new Uint8Array(100_000).fill(7)
    const receipt = await backend.commitTask({
      claim,
      outcome: {
        kind: 'completed',
        output,
        next: { position: { kind: 'at-task', taskId: 'b' } },
      },
      claimNext: { ttlMs: 60_000 },
    })
    expect(receipt.next?.task.input).toEqual(output)
    const next = receipt.next?.claim ?? expect.fail()
    expect(typeof next.token).toBe('number')
    expect(await backend.renewTaskClaim(next, 60_000)).toMatchObject({ token: next.token })
    const loaded = await backend.loadSnapshot('i')
    expect(loaded.initialInput).toEqual(initialInput)
    expect(loaded.state.completedTasks.get('a')?.output).toEqual(output)
    expect((await backend.stats()).claimed).toBe(1)
    expect(await Array.fromAsync(backend.listSnapshots())).toMatchObject([{ revision: 2 }])
    await backend.deleteSnapshot('i')
    await backend.close()
  },
)
