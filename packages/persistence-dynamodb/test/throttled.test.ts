import { DynamoDBClient } from '@aws-sdk/client-dynamodb'
import type { PersistentBackend } from '@sayiir/persistence-core'
import { DynamoDBBackend } from '@sayiir/persistence-dynamodb'
import { beforeEach, describe, expect, inject, onTestFinished, test } from 'vitest'
import { type HttpProxy, refusal, type SeenRequest, startHttpProxy } from './http-proxy.ts'
import { atTask, namespace, open } from './namespace.ts'
import { place } from './process.ts'

const THROTTLED = 'ProvisionedThroughputExceededException'
const LONG_MS = 600_000
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

let proxy: HttpProxy
let keyPrefix: string

beforeEach(async () => {
  proxy = await startHttpProxy(inject('dynamodb').url)
  keyPrefix = namespace()
})

/** Behind the proxy: with a client of its own, or a borrowed one. */
async function behind(kind: 'connect' | 'fromClient', ms = 5000): Promise<PersistentBackend> {
  const options = { keyPrefix, requestTimeoutMs: ms }
  if (kind === 'connect') return open({ ...place(proxy.url), ...options })
  // The SDK's own pauses are long, and count for a request's time.
  const borrowed = new DynamoDBClient({ ...place(proxy.url), maxAttempts: 1 })
  const backend = await DynamoDBBackend.fromClient(borrowed, options)
  onTestFinished(async () => {
    await backend.close()
    borrowed.destroy()
  })
  return backend
}

/** Refuses the next so many requests of an operation; how many are left. */
function refuse(
  count: number,
  isMeant: (seen: SeenRequest) => boolean,
  answer: ReturnType<typeof refusal>,
): { left: number } {
  const state = { left: count }
  proxy.answer = (seen) => {
    if (state.left === 0 || !isMeant(seen)) return null
    state.left -= 1
    return answer
  }
  return state
}

describe('a request that the service refuses for a while is sent again until it is taken', () => {
  test.each([
    ['connect', THROTTLED],
    ['connect', 'ThrottlingException'],
    ['connect', 'RequestLimitExceeded'],
    ['connect', 'TransactionConflictException'],
    ['connect', 'ReplicatedWriteConflictException'],
    ['fromClient', THROTTLED],
    ['fromClient', 'TransactionConflictException'],
  ] as const)('%s, a write: %s', async (kind, name) => {
    const backend = await behind(kind)
    const refused = refuse(4, ({ operation }) => operation === 'PutItem', refusal(name))
    const saved = await backend.saveSnapshot(atTask('i'), { expectedRevision: 0 })
    expect(refused.left).toBe(0)
    expect(saved.revision).toBe(1)
    const held = await backend.claimTask({
      instanceId: 'i',
      taskId: 'a',
      workerId: 'w',
      ttlMs: LONG_MS,
    })
    refuse(3, ({ operation }) => operation === 'PutItem', refusal(name))
    const receipt = await backend.commitTask({
      claim: held ?? expect.fail(),
      outcome: { kind: 'completed', output: bytes('o'), next: { finalOutput: bytes('f') } },
    })
    expect(receipt).toMatchObject({ revision: 2, status: 'completed' })
  })

  test('reads and looks', async () => {
    const backend = await behind('connect')
    await backend.saveSnapshot(atTask('i'))
    refuse(3, ({ operation }) => operation === 'GetItem', refusal(THROTTLED))
    expect((await backend.loadSnapshot('i')).revision).toBe(1)
    refuse(5, ({ operation }) => /Query|BatchGet/.test(operation), refusal(THROTTLED))
    expect(await backend.findAvailableTasks({ workerId: 'w', limit: 1 })).toHaveLength(1)
  })

  test('a transaction that another one is in the way of', async () => {
    const backend = await behind('connect')
    await backend.saveSnapshot(atTask('i'))
    const reasons = [{ Code: 'TransactionConflict' }, { Code: 'None' }, { Code: 'None' }]
    const refused = refuse(
      3,
      ({ operation }) => operation === 'TransactWriteItems',
      refusal('TransactionCanceledException', 'Transaction cancelled', {
        CancellationReasons: reasons,
      }),
    )
    await backend.sendEvent('i', 'go', bytes('once'), { eventId: 'e' })
    expect(refused.left).toBe(0)
    expect(await backend.consumeEvent('i', 'go')).toEqual(bytes('once'))
    expect(await backend.consumeEvent('i', 'go')).toBeNull()
  })

  test('those of a group of statements that were refused, and only those', async () => {
    const backend = await behind('connect')
    await backend.saveSnapshot(atTask('warm'))
    const codes = ['ProvisionedThroughputExceeded', 'ThrottlingError', 'TransactionConflict']
    let refused = 0
    proxy.answer = ({ operation, body }) => {
      if (operation !== 'BatchExecuteStatement' || refused > 0) return null
      const { Statements } = body as { Statements: unknown[] }
      // Nothing of it is done, and each is told so.
      refused = Statements.length
      return {
        status: 200,
        body: {
          Responses: Statements.map((_, index) => ({
            Error: { Code: codes[index % codes.length], Message: 'try again' },
          })),
        },
      }
    }
    const ids = Array.from({ length: 100 }, (_, index) => `many${index}`)
    await Promise.all(ids.map((id) => backend.saveSnapshot(atTask(id), { expectedRevision: 0 })))
    expect(refused).toBeGreaterThan(0)
    for (const id of ids) expect((await backend.loadSnapshot(id)).revision).toBe(1)
  })

  test('what a batch left undone', async () => {
    const backend = await behind('connect')
    for (const id of ['i', 'j']) await backend.saveSnapshot(atTask(id, 'a', new Uint8Array(2048)))
    let gets = 0
    let writes = 0
    proxy.answer = ({ operation, body }) => {
      if (operation === 'BatchGetItem' && gets < 2) {
        gets += 1
        return { status: 200, body: { Responses: {}, UnprocessedKeys: body.RequestItems } }
      }
      if (operation === 'BatchWriteItem' && writes < 2) {
        writes += 1
        return { status: 200, body: { UnprocessedItems: body.RequestItems } }
      }
      return null
    }
    expect(await backend.findAvailableTasks({ workerId: 'w', limit: 2 })).toHaveLength(2)
    await backend.deleteSnapshot('i')
    expect([gets, writes]).toEqual([2, 2])
    await expect(backend.loadSnapshot('i')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})

describe('what is refused for too long is UNAVAILABLE, with the driver’s error as its cause', () => {
  test.each(['connect', 'fromClient'] as const)('%s', async (kind) => {
    const backend = await behind(kind, 400)
    await backend.saveSnapshot(atTask('i'))
    proxy.seen.length = 0
    refuse(Infinity, ({ operation }) => operation !== 'DescribeTable', refusal(THROTTLED))
    const calls = [
      backend.loadSnapshot('i'),
      backend.saveSnapshot(atTask('j')),
      backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 1000 }),
      backend.stats(),
      backend.checkHealth(),
    ]
    for (const call of await Promise.allSettled(calls)) {
      expect(call).toMatchObject({
        status: 'rejected',
        reason: { code: 'UNAVAILABLE', retryable: true, cause: { name: THROTTLED } },
      })
    }
    // With pauses that grow, not as fast as it can.
    const tries = proxy.seen.filter(({ operation }) => operation === 'GetItem').length
    expect(tries).toBeGreaterThan(2)
    expect(tries).toBeLessThan(120)
    proxy.answer = () => null
    expect((await backend.loadSnapshot('i')).revision).toBe(1)
    await expect(backend.loadSnapshot('j')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('transactions and batches', async () => {
    const backend = await behind('connect', 300)
    await backend.saveSnapshot(atTask('i', 'a', new Uint8Array(2048)))
    const reasons = [{ Code: 'ThrottlingError' }, { Code: 'None' }]
    proxy.answer = ({ operation, body }) => {
      if (operation === 'BatchWriteItem')
        return { status: 200, body: { UnprocessedItems: body.RequestItems } }
      return operation === 'TransactWriteItems'
        ? refusal('TransactionCanceledException', '', { CancellationReasons: reasons })
        : null
    }
    await expect(backend.sendEvent('i', 'go', bytes('x'))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      retryable: true,
    })
    await expect(backend.deleteSnapshot('i')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    proxy.answer = () => null
    expect(await backend.consumeEvent('i', 'go')).toBeNull()
  })
})

describe('claims of which one fails', () => {
  const DENIED = refusal('AccessDeniedException')
  const many = { workerId: 'w', limit: 10, ttlMs: LONG_MS }

  test('the others reach their worker, since nobody else would know of them', async () => {
    const worker = await behind('connect')
    for (const id of ['a', 'b', 'c']) await worker.saveSnapshot(atTask(id))
    proxy.answer = ({ operation, body }) => {
      const { p } = (body.Item ?? {}) as { p?: { S: string } }
      return operation === 'PutItem' && p?.S === `${keyPrefix}#I#b` ? DENIED : null
    }
    const claimed = await worker.claimAvailableTasks(many)
    expect(claimed.map(({ task }) => task.instanceId).toSorted()).toEqual(['a', 'c'])
    // Now there is none besides.
    await expect(worker.claimAvailableTasks(many)).rejects.toMatchObject({ code: 'BACKEND' })
    proxy.answer = () => null
    expect(await worker.claimAvailableTasks(many)).toMatchObject([{ task: { instanceId: 'b' } }])
  })

  test('nor does a look that fails afterwards keep what was claimed before it', async () => {
    const worker = await behind('connect')
    await worker.saveSnapshot(atTask('a'))
    let claims = 0
    proxy.answer = ({ operation }) => {
      if (operation === 'PutItem') claims += 1
      return operation === 'Query' && claims > 0 ? DENIED : null
    }
    const claimed = await worker.claimAvailableTasks(many)
    expect(claimed.map(({ task }) => task.instanceId)).toEqual(['a'])
    await expect(worker.claimAvailableTasks(many)).rejects.toMatchObject({ code: 'BACKEND' })
  })
})

test('D6 a commit that has landed is told so, though the look for what its worker does next failed', async () => {
  const worker = await behind('connect')
  await worker.saveSnapshot(atTask('a'))
  const claim = await worker.claimTask({
    ...{ instanceId: 'a', taskId: 'a', workerId: 'w', ttlMs: LONG_MS },
  })
  proxy.answer = ({ operation }) =>
    operation === 'Query' ? refusal('AccessDeniedException') : null
  const receipt = await worker.commitTask({
    claim: claim ?? expect.fail(),
    outcome: { kind: 'completed', output: bytes(''), next: { finalOutput: bytes('') } },
    claimNext: { ttlMs: LONG_MS },
  })
  expect(receipt).toMatchObject({ status: 'completed', next: null })
  await expect(
    worker.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: LONG_MS }),
  ).rejects.toMatchObject({ code: 'BACKEND' })
})
