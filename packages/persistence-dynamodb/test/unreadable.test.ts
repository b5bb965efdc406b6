import {
  type AttributeValue,
  DeleteItemCommand,
  PutItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb'
import { completeTask, createSnapshot, moveTo } from '@sayiir/persistence-core'
import type { DynamoDBBackend } from '@sayiir/persistence-dynamodb'
import { describe, expect, inject, test } from 'vitest'
import { Keys } from '../src/keys.ts'
import { PACKED, WHOLE } from '../src/packing.ts'
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
async function damage(
  keyPrefix: string,
  stored: Readonly<Record<string, AttributeValue>> = { [WHOLE]: { B: new Uint8Array([120]) } },
): Promise<void> {
  const { p, s } = new Keys(keyPrefix).head('bad')
  const [[name, value] = expect.fail()] = Object.entries(stored)
  const admin = client(inject('dynamodb').url)
  await admin.send(
    new UpdateItemCommand({
      TableName: 'sayiir',
      Key: { p: { S: p }, s: { S: s } },
      UpdateExpression: 'SET #o = :damaged, w = :write',
      ExpressionAttributeNames: { '#o': name },
      ExpressionAttributeValues: {
        ':damaged': value,
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

describe('one that can not be read', () => {
  test('does not vanish from listings, and keeps nobody from counting and pruning the others', async () => {
    const backend = await withBad(['a', 'bad', 'c'])
    await backend.storeSignal('c', 'cancel')
    await backend.checkAndCancel('c')
    const told = { code: 'SERIALIZATION', instanceId: 'bad' }
    await expect(backend.loadSnapshot('bad')).rejects.toMatchObject(told)
    await expect(Array.fromAsync(backend.listSnapshots())).rejects.toMatchObject(told)
    const rest = await Array.fromAsync(backend.listSnapshots({ after: 'bad' }))
    expect(rest.map(({ instanceId }) => instanceId)).toEqual(['c'])
    expect((await backend.stats()).byStatus).toMatchObject({ 'in-progress': 2, cancelled: 1 })
    const endedBefore = (await backend.loadSnapshot('c')).updatedAt + 1
    expect(await backend.prune({ endedBefore })).toEqual({ deleted: 1, more: false })
  })

  test('keeps nobody from pruning the others though it has ended', async () => {
    const keyPrefix = namespace()
    const backend = await open({ keyPrefix })
    for (const id of ['bad', 'c']) {
      await backend.saveSnapshot(atTask(id))
      await backend.storeSignal(id, 'cancel')
      await backend.checkAndCancel(id)
    }
    await damage(keyPrefix, { [PACKED]: { S: 'x' } })
    const other = await open({ keyPrefix })
    const endedBefore = (await other.loadSnapshot('c')).updatedAt + 60_000
    expect(await other.prune({ endedBefore })).toMatchObject({ deleted: 1 })
    await other.deleteSnapshot('bad')
    expect(await Array.fromAsync(other.listSnapshots())).toEqual([])
  })

  test('keeps nobody from counting though it is a fork, nor from sweeping up though it has left something', async () => {
    const keyPrefix = namespace()
    const backend = await open({ keyPrefix })
    const pendingTasks = ['a', 'b'].map((taskId) => ({ taskId }))
    const position = {
      kind: 'at-fork',
      forkId: 'f',
      pendingTasks,
      join: { taskId: 'j' },
      completedBranches: new Map(),
      wakeAt: null,
    } as const
    for (const instanceId of ['bad', 'c'])
      await backend.saveSnapshot(createSnapshot({ instanceId, definitionHash: 'd', position }))
    await damage(keyPrefix)
    const keys = new Keys(keyPrefix)
    const note = {
      ...{ p: { S: keys.instance('bad') }, s: { S: 'S#000000000aaaa~000000000aaaa' } },
      ...{ wp: { S: keys.sweep(0) }, ws: { N: '1' } },
    }
    const admin = client(inject('dynamodb').url)
    await admin.send(new PutItemCommand({ TableName: 'sayiir', Item: note }))
    admin.destroy()
    const other = await open({ keyPrefix })
    expect(await other.stats()).toMatchObject({ available: 2, byStatus: { 'in-progress': 2 } })
    expect(await other.prune({ endedBefore: 1 })).toEqual({ deleted: 0, more: false })
  })

  test('can be deleted, and started anew', async () => {
    const backend = await withBad(['bad'])
    await backend.deleteSnapshot('bad')
    await expect(backend.loadSnapshot('bad')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect((await backend.saveSnapshot(atTask('bad'))).revision).toBe(1)
  })
})

describe('one of which a body is missing', () => {
  /** Deletes all items of an instance's partition whose sort keys begin so. */
  async function lose(keyPrefix: string, sPrefix: string): Promise<void> {
    const admin = client(inject('dynamodb').url)
    const p = { S: new Keys(keyPrefix).instance('bad') }
    const { Items = [] } = await admin.send(
      new QueryCommand({
        ...{ TableName: 'sayiir', ProjectionExpression: 'p, s' },
        KeyConditionExpression: 'p = :p AND begins_with(s, :s)',
        ExpressionAttributeValues: { ':p': p, ':s': { S: sPrefix } },
      }),
    )
    expect(Items.length).toBeGreaterThan(0)
    for (const Key of Items) await admin.send(new DeleteItemCommand({ TableName: 'sayiir', Key }))
    admin.destroy()
  }

  const told = { code: 'SERIALIZATION', instanceId: 'bad' }

  test('is told as damaged, and can be deleted', async () => {
    const keyPrefix = namespace()
    const writer = await open({ keyPrefix })
    await writer.saveSnapshot(atTask('bad', 'a', new Uint8Array(100_000)))
    await lose(keyPrefix, 'B#')
    const backend = await open({ keyPrefix })
    await expect(backend.loadSnapshot('bad')).rejects.toMatchObject(told)
    await expect(backend.storeSignal('bad', 'cancel')).rejects.toMatchObject(told)
    await backend.deleteSnapshot('bad')
  })

  test('is told as damaged where it is of an output', async () => {
    const keyPrefix = namespace()
    const writer = await open({ keyPrefix })
    await writer.saveSnapshot(completeTask(atTask('bad', 'b'), 'a', new Uint8Array(300_000)))
    await lose(keyPrefix, 'B#')
    const backend = await open({ keyPrefix })
    await expect(backend.loadTaskResult('bad', 'a')).rejects.toMatchObject(told)
    await expect(backend.loadSnapshot('bad')).rejects.toMatchObject(told)
  })

  test('is told as damaged where it is of an event', async () => {
    const keyPrefix = namespace()
    const writer = await open({ keyPrefix })
    await writer.saveSnapshot(atTask('bad'))
    await writer.sendEvent('bad', 'go', new Uint8Array(100_000))
    await lose(keyPrefix, 'B#')
    const backend = await open({ keyPrefix })
    await expect(backend.consumeEvent('bad', 'go')).rejects.toMatchObject(told)
    const parked = moveTo(await backend.loadSnapshot('bad'), {
      kind: 'at-signal',
      signalId: 's',
      signalName: 'go',
      wakeAt: null,
      nextTaskId: 'b',
    })
    await expect(backend.saveSnapshot(parked)).rejects.toMatchObject(told)
  })
})
