import { UpdateItemCommand } from '@aws-sdk/client-dynamodb'
import type { DynamoDBBackend } from '@sayiir/persistence-dynamodb'
import { describe, expect, inject, test } from 'vitest'
import { Keys } from '../src/keys.ts'
import { WHOLE } from '../src/packing.ts'
import { atTask, namespace, open } from './namespace.ts'
import { client } from './process.ts'

const CLAIM = { workerId: 'w', ttlMs: 60_000 }
const output = new Uint8Array(0)

/** A backend on instances of which what is stored of `bad` is damaged. */
async function withBad(
  ids: readonly string[],
  before: (backend: DynamoDBBackend) => Promise<unknown> = async () => {},
): Promise<DynamoDBBackend> {
  const keyPrefix = namespace()
  const writer = await open({ keyPrefix })
  for (const id of ids) await writer.saveSnapshot(atTask(id))
  await before(writer)
  await damage(keyPrefix)
  return open({ keyPrefix })
}

/** Writes what nobody can read, as a process of a newer version would. */
async function damage(keyPrefix: string): Promise<void> {
  const { p, s } = new Keys(keyPrefix).head('bad')
  const admin = client(inject('dynamodb').url)
  await admin.send(
    new UpdateItemCommand({
      TableName: 'sayiir',
      Key: { p: { S: p }, s: { S: s } },
      UpdateExpression: 'SET #o = :damaged, w = :write',
      ExpressionAttributeNames: { '#o': WHOLE },
      ExpressionAttributeValues: {
        ':damaged': { B: new Uint8Array([120]) },
        ':write': { S: 'another1' },
      },
    }),
  )
  admin.destroy()
}

test('an instance that can not be read keeps nobody from the others', async () => {
  const backend = await withBad(['bad', 'b', 'c'])
  await expect(backend.loadSnapshot('bad')).rejects.toMatchObject({ code: 'SERIALIZATION' })
  const found = await backend.findAvailableTasks({ workerId: 'w', limit: 10 })
  expect(found.map(({ instanceId }) => instanceId).toSorted()).toEqual(['b', 'c'])
  const woken = await backend.waitForWakeup({ timeoutMs: 10_000 })
  expect(['b', 'c']).toContain(woken?.instanceId)
  const [first] = await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })
  const outcome = { kind: 'completed', output, next: { finalOutput: output } } as const
  const claim = first?.claim ?? expect.fail()
  const { next } = await backend.commitTask({ claim, outcome, claimNext: { ttlMs: 60_000 } })
  expect([first?.task.instanceId, next?.task.instanceId].toSorted()).toEqual(['b', 'c'])
  expect(await backend.claimAvailableTasks({ ...CLAIM, limit: 10 })).toEqual([])
})

test('neither does one with a signal that nobody can apply', async () => {
  const backend = await withBad(['bad', 'b'], (before) => before.storeSignal('bad', 'cancel'))
  const [claimed] = await backend.claimAvailableTasks({ ...CLAIM, limit: 10 })
  expect(claimed?.task.instanceId).toBe('b')
})

describe('one that could be read when it was found, and no longer when it is claimed', () => {
  test('does not fail the commit that went beside', async () => {
    const keyPrefix = namespace()
    const backend = await open({ keyPrefix })
    for (const id of ['a', 'bad', 'c']) await backend.saveSnapshot(atTask(id))
    const worker = await open({ keyPrefix })
    const [first] = await worker.claimAvailableTasks({ ...CLAIM, limit: 1 })
    const claim = first?.claim ?? expect.fail()
    expect(claim.instanceId).toBe('a')
    // It is the next of those that the look has brought.
    await damage(keyPrefix)
    const outcome = { kind: 'completed', output, next: { finalOutput: output } } as const
    const receipt = await worker.commitTask({ claim, outcome, claimNext: { ttlMs: 60_000 } })
    expect(receipt.status).toBe('completed')
    expect(receipt.next?.task.instanceId).toBe('c')
    expect((await backend.loadSnapshot('a')).state.status).toBe('completed')
  })

  test('keeps nobody from claiming the others', async () => {
    const keyPrefix = namespace()
    const backend = await open({ keyPrefix })
    for (const id of ['a', 'bad', 'c']) await backend.saveSnapshot(atTask(id))
    const worker = await open({ keyPrefix })
    expect(await worker.claimAvailableTasks({ ...CLAIM, limit: 1 })).toHaveLength(1)
    await damage(keyPrefix)
    const claimed = await worker.claimAvailableTasks({ ...CLAIM, limit: 10 })
    expect(claimed.map(({ task }) => task.instanceId)).toEqual(['c'])
  })
})
