import {
  type AttributeValue,
  type DynamoDBClient,
  PutItemCommand,
  QueryCommand,
} from '@aws-sdk/client-dynamodb'
import { completeTask, createSnapshot } from '@sayiir/persistence-core'
import { DynamoDBBackend } from '@sayiir/persistence-dynamodb'
import { startProxy } from '@sayiir/services'
import { expect, inject, onTestFinished, test, vi } from 'vitest'
import { datedName, shardOf } from '../src/keys.ts'
import { atTask, namespace, open } from './namespace.ts'
import { client } from './process.ts'

const MB = 1024 * 1024
const TOKENS_MS = 2100

function admin(): DynamoDBClient {
  const opened = client(inject('dynamodb').url)
  onTestFinished(() => opened.destroy())
  return opened
}

/** Sort keys of all items of an instance, without what is in them. */
async function itemsOf(
  keyPrefix: string,
  instanceId: string,
  through: DynamoDBClient = admin(),
): Promise<string[]> {
  const sorts: string[] = []
  let start: Record<string, AttributeValue> | undefined
  do {
    const page = await through.send(
      new QueryCommand({
        TableName: 'sayiir',
        ProjectionExpression: 's',
        KeyConditionExpression: 'p = :p',
        ExpressionAttributeValues: { ':p': { S: `${keyPrefix}#I#${instanceId}` } },
        ConsistentRead: true,
        ExclusiveStartKey: start,
      }),
    )
    sorts.push(...(page.Items ?? []).map(({ s }) => s?.S ?? ''))
    start = page.LastEvaluatedKey
  } while (start !== undefined)
  return sorts
}

test('S8 a deletion leaves no item of results, events, markers and bodies', async () => {
  const keyPrefix = namespace()
  const backend = await open({ keyPrefix })
  let snapshot = createSnapshot({
    instanceId: 'i',
    definitionHash: 'd',
    initialInput: new Uint8Array(MB),
    position: {
      kind: 'at-fork',
      forkId: 'f',
      pendingTasks: [1, 2, 3].map((priority) => ({ taskId: `t${priority}`, priority })),
      join: { taskId: 'j' },
      completedBranches: new Map(),
      wakeAt: null,
    },
  })
  for (let index = 0; index < 30; index += 1)
    snapshot = completeTask(snapshot, `done${index}`, new Uint8Array(index * 100))
  await backend.saveSnapshot(snapshot)
  await backend.sendEvent('i', 'go', new Uint8Array(200_000), { eventId: 'e' })
  const kinds = new Set((await itemsOf(keyPrefix, 'i')).map(([kind]) => kind))
  for (const kind of ['B', 'E', 'H', 'M', 'N', 'T']) expect(kinds).toContain(kind)
  await backend.deleteSnapshot('i')
  expect(await itemsOf(keyPrefix, 'i')).toEqual([])
})

test('C3 a deletion just after a claim leaves a tombstone, which goes when its time has come', async () => {
  const keyPrefix = namespace()
  const backend = await open({ keyPrefix })
  await backend.saveSnapshot(atTask('i'))
  const params = { instanceId: 'i', taskId: 'a', workerId: 'w', ttlMs: 60_000 }
  const first = (await backend.claimTask(params)) ?? expect.fail()
  await backend.deleteSnapshot('i')
  expect(await itemsOf(keyPrefix, 'i')).toEqual(['H'])
  await expect(backend.loadSnapshot('i')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  expect(await Array.fromAsync(backend.listSnapshots())).toEqual([])
  await backend.saveSnapshot(atTask('i'))
  const second = (await backend.claimTask(params)) ?? expect.fail()
  expect(second.token).toBeGreaterThan(first.token)
  await backend.deleteSnapshot('i')
  await new Promise((resolve) => setTimeout(resolve, TOKENS_MS))
  await backend.prune({ endedBefore: 1 })
  expect(await itemsOf(keyPrefix, 'i')).toEqual([])
})

test('C3 so does one of an instance that waits for a worker again', async () => {
  const keyPrefix = namespace()
  const backend = await open({ keyPrefix })
  await backend.saveSnapshot(atTask('i'))
  const params = { instanceId: 'i', taskId: 'a', workerId: 'w', ttlMs: 60_000 }
  const first = (await backend.claimTask(params)) ?? expect.fail()
  await backend.releaseTaskClaim(first)
  await backend.deleteSnapshot('i')
  expect(await itemsOf(keyPrefix, 'i')).toEqual(['H'])
  await backend.saveSnapshot(atTask('i'))
  const second = (await backend.claimTask(params)) ?? expect.fail()
  expect(second.token).toBeGreaterThan(first.token)
})

test('a long-held instance leaves no tombstone', async () => {
  const keyPrefix = namespace()
  const backend = await open({ keyPrefix })
  await backend.saveSnapshot(atTask('i'))
  await backend.claimTask({ instanceId: 'i', taskId: 'a', workerId: 'w', ttlMs: 60_000 })
  await new Promise((resolve) => setTimeout(resolve, TOKENS_MS))
  await backend.deleteSnapshot('i')
  expect(await itemsOf(keyPrefix, 'i')).toEqual([])
})

/** A client whose connections are cut with its chunk of that number. */
async function cutAtChunk(count: number): Promise<DynamoDBClient> {
  const proxy = await startProxy(inject('dynamodb').url)
  onTestFinished(() => proxy.close())
  const cut = client(proxy.url)
  onTestFinished(() => cut.destroy())
  const { requestHandler } = cut.config
  const handle = requestHandler.handle.bind(requestHandler)
  let chunks = 0
  requestHandler.handle = (request, options) => {
    if (Buffer.from(request.body ?? '').includes('"B#')) chunks += 1
    if (chunks === count) proxy.cut()
    return handle(request, options)
  }
  return cut
}

test('S5 a writer cut off between chunks changes nothing that is read', async () => {
  const keyPrefix = namespace()
  const backend = await open({ keyPrefix })
  const saved = await backend.saveSnapshot(atTask('i', 'a', new Uint8Array(MB).fill(1)))
  const options = { keyPrefix, requestTimeoutMs: 2000 }
  const cut = await DynamoDBBackend.fromClient(await cutAtChunk(20), options)
  onTestFinished(() => cut.close())
  const saving = cut.saveSnapshot(atTask('i', 'b', new Uint8Array(16 * MB).fill(2)))
  // Not what it resolves to: a message that shows so many bytes takes all the memory that there is.
  const outcome = await saving.then(
    () => 'saved',
    (error: unknown) => error,
  )
  expect(outcome).toMatchObject({ code: 'UNAVAILABLE' })
  expect(await backend.loadSnapshot('i')).toEqual(saved)
  // What it left has a note, by which it is found.
  expect((await itemsOf(keyPrefix, 'i')).filter((s) => s.startsWith('S#')).length).toBeGreaterThan(
    0,
  )
  await backend.deleteSnapshot('i')
  expect((await itemsOf(keyPrefix, 'i')).filter((s) => s !== 'H')).toEqual([])
})

test('what a dead writer left is swept up by prune, once it is old; what is referred to stays', async () => {
  const keyPrefix = namespace()
  const backend = await open({ keyPrefix })
  const saved = await backend.saveSnapshot(atTask('i', 'a', new Uint8Array(MB).fill(1)))
  const p = { S: `${keyPrefix}#I#i` }
  // The note of a large body goes behind the scenes.
  let sorts: string[] = []
  await vi.waitUntil(async () => {
    sorts = await itemsOf(keyPrefix, 'i')
    return !sorts.some((s) => s.startsWith('S#'))
  })
  const life =
    sorts
      .find((s) => s.startsWith('B#'))
      ?.slice(2)
      .split('~')[0] ?? expect.fail()
  const put = (s: string, attributes: Record<string, AttributeValue>) =>
    admin().send(
      new PutItemCommand({ TableName: 'sayiir', Item: { p, s: { S: s }, ...attributes } }),
    )
  const now = Date.now()
  const old = `${life}~${datedName(now - 2 * 3_600_000)}`
  const fresh = `${life}~${datedName(now)}`
  for (const name of [old, fresh]) {
    await put(`B#${name}#000`, { d: { B: new Uint8Array(10) } })
    await put(`B#${name}#001`, { d: { B: new Uint8Array(10) } })
    await put(`S#${name}`, {
      wp: { S: `${keyPrefix}#S#${shardOf('i', 4)}` },
      ws: { N: String(now - 1000) },
    })
  }
  await backend.prune({ endedBefore: 1 })
  const left = await itemsOf(keyPrefix, 'i')
  expect(left.filter((s) => s.includes(old))).toEqual([])
  expect(left.filter((s) => s.includes(fresh))).toHaveLength(3)
  expect(left.filter((s) => sorts.includes(s))).toEqual(sorts)
  expect(await backend.loadSnapshot('i')).toEqual(saved)
})
