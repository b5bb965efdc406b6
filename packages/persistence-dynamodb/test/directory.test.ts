import { type DynamoDBClient, PutItemCommand, QueryCommand } from '@aws-sdk/client-dynamodb'
import { failWorkflow, type InstanceStatus, type PersistentBackend } from '@sayiir/persistence-core'
import { expect, inject, onTestFinished, test } from 'vitest'
import { datedName, dateOf } from '../src/keys.ts'
import { refusal, startHttpProxy } from './http-proxy.ts'
import { atTask, namespace, open } from './namespace.ts'
import { client, place } from './process.ts'

const HOUR_MS = 3_600_000

function admin(): DynamoDBClient {
  const opened = client(inject('dynamodb').url)
  onTestFinished(() => opened.destroy())
  return opened
}

/** Ids in the directory, by shard. */
async function directoryOf(keyPrefix: string, shards: number): Promise<string[][]> {
  const through = admin()
  return Promise.all(
    Array.from({ length: shards }, async (_, shard) => {
      const { Items = [] } = await through.send(
        new QueryCommand({
          TableName: 'sayiir',
          KeyConditionExpression: 'p = :p',
          ExpressionAttributeValues: { ':p': { S: `${keyPrefix}#L#${shard}` } },
          ConsistentRead: true,
        }),
      )
      return Items.map(({ s }) => s?.S ?? '')
    }),
  )
}

/** An entry as a writer leaves it that dies before it has written the instance. */
async function leaveEntry(keyPrefix: string, instanceId: string, ageMs: number): Promise<void> {
  const item = {
    p: { S: `${keyPrefix}#L#0` },
    s: { S: instanceId },
    x: { S: datedName(Date.now() - ageMs) },
  }
  await admin().send(new PutItemCommand({ TableName: 'sayiir', Item: item }))
}

function listed(
  backend: PersistentBackend,
  filter?: Parameters<PersistentBackend['listSnapshots']>[0],
): Promise<string[]> {
  return Array.fromAsync(backend.listSnapshots(filter), ({ instanceId }) => instanceId)
}

test('S9 what a writer left that died before its instance was there is not listed, and swept once it is old', async () => {
  const keyPrefix = namespace()
  const backend = await open({ keyPrefix, shards: 1 })
  await backend.saveSnapshot(atTask('b'))
  await leaveEntry(keyPrefix, 'a', HOUR_MS)
  await leaveEntry(keyPrefix, 'c', 0)
  expect(await listed(backend)).toEqual(['b'])
  // The writer of `c` may still be at it.
  expect(await directoryOf(keyPrefix, 1)).toEqual([['b', 'c']])
  await backend.saveSnapshot(atTask('a'))
  await backend.saveSnapshot(atTask('c'))
  expect(await listed(backend)).toEqual(['a', 'b', 'c'])
})

test('S9 an instance is in the directory before it is there, so none is ever missed', async () => {
  const keyPrefix = namespace()
  const proxy = await startHttpProxy(inject('dynamodb').url)
  const backend = await open({ ...place(proxy.url), keyPrefix })
  proxy.answer = ({ body }) => {
    const { p } = (body.Item ?? {}) as { p?: { S: string } }
    return p?.S.includes('#L#') === true ? refusal('AccessDeniedException') : null
  }
  await expect(backend.saveSnapshot(atTask('i'))).rejects.toMatchObject({ code: 'BACKEND' })
  proxy.answer = () => null
  await expect(backend.loadSnapshot('i')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  await backend.saveSnapshot(atTask('i'))
  expect(await listed(backend)).toEqual(['i'])
})

test('S8 a deletion takes the entry away, however many shards there are by then', async () => {
  const keyPrefix = namespace()
  const ids = Array.from({ length: 12 }, (_, index) => `i${index}`)
  const wide = await open({ keyPrefix, shards: 8 })
  for (const id of ids) await wide.saveSnapshot(atTask(id))
  const narrow = await open({ keyPrefix, shards: 2 })
  for (const id of ids) await narrow.deleteSnapshot(id)
  expect((await directoryOf(keyPrefix, 8)).flat()).toEqual([])
})

test('S8 an instance that is created anew while it is deleted is listed', async () => {
  const keyPrefix = namespace()
  const proxy = await startHttpProxy(inject('dynamodb').url)
  const deleting = await open({ ...place(proxy.url), keyPrefix })
  const creating = await open({ keyPrefix })
  await creating.saveSnapshot(atTask('i'))
  let creations = 0
  proxy.change = async ({ operation, body }, reply) => {
    const key = (body.Key ?? {}) as { p?: { S: string } }
    // The moment between the deletion of the instance and that of its entry.
    if (operation === 'DeleteItem' && key.p?.S === `${keyPrefix}#I#i`) {
      creations += 1
      await creating.saveSnapshot(atTask('i'))
    }
    return reply
  }
  await deleting.deleteSnapshot('i')
  expect(creations).toBe(1)
  expect(await listed(creating)).toEqual(['i'])
})

test('S8 a deletion that takes long tells lives since then from those before', async () => {
  const keyPrefix = namespace()
  const proxy = await startHttpProxy(inject('dynamodb').url)
  const backend = await open({ ...place(proxy.url), keyPrefix })
  await backend.saveSnapshot(atTask('i'))
  let deletedAt = Number.NaN
  const bounds: number[] = []
  proxy.answer = ({ operation, body }) => {
    if (operation !== 'DeleteItem') return null
    const { ':old': old } = (body.ExpressionAttributeValues ?? {}) as Record<string, { S: string }>
    if (old === undefined) deletedAt = Date.now()
    else bounds.push(dateOf(old.S))
    return null
  }
  proxy.change = async (_, reply) => {
    await new Promise((resolve) => setTimeout(resolve, 20))
    return reply
  }
  await backend.deleteSnapshot('i')
  expect(bounds).toHaveLength(1)
  // Ten minutes before the deletion, not before the entry is taken out.
  for (const bound of bounds) expect(bound).toBeLessThanOrEqual(deletedAt - 600_000)
})

test('S9 few and many that have ended are listed alike', async () => {
  const keyPrefix = namespace()
  const backend = await open({ keyPrefix, shards: 1 })
  const ids = (from: number, count: number) =>
    Array.from({ length: count }, (_, index) => `i${String(from + index).padStart(4, '0')}`)
  const save = (wanted: readonly string[], ends: boolean) =>
    Promise.all(
      wanted.map((id) => backend.saveSnapshot(ends ? failWorkflow(atTask(id), 'no') : atTask(id))),
    )
  const failed: InstanceStatus[] = ['failed', 'cancelled']
  await save(ids(0, 20), true)
  await save(ids(20, 20), false)
  await save(ids(40, 20), true)
  expect(await listed(backend, { status: failed })).toEqual([...ids(0, 20), ...ids(40, 20)])
  expect(await listed(backend, { status: 'failed', after: 'i0010', limit: 15 })).toEqual([
    ...ids(11, 9),
    ...ids(40, 6),
  ])
  await save(ids(60, 480), true)
  const many = await listed(backend, { status: failed })
  expect(many).toEqual([...ids(0, 20), ...ids(40, 500)])
  expect(await backend.stats()).toMatchObject({ byStatus: { failed: 520, 'in-progress': 20 } })
})
