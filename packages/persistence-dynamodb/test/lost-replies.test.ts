import type { PersistentBackend, TaskClaim } from '@sayiir/persistence-core'
import { DynamoDBBackend } from '@sayiir/persistence-dynamodb'
import { startProxy, type TcpProxy } from '@sayiir/services'
import { beforeEach, describe, expect, inject, onTestFinished, test, vi } from 'vitest'
import { startHttpProxy } from './http-proxy.ts'
import { atTask, namespace, open } from './namespace.ts'
import { client, place } from './process.ts'

const LONG_MS = 600_000
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

let proxy: TcpProxy
/** Behind the proxy, and beside it. */
let backend: PersistentBackend
let witness: PersistentBackend
let keyPrefix: string

beforeEach(async () => {
  proxy = await startProxy(inject('dynamodb').url)
  onTestFinished(() => proxy.close())
  keyPrefix = namespace()
  witness = await open({ keyPrefix })
  backend = await open({ ...place(proxy.url), keyPrefix })
  await witness.saveSnapshot(atTask('i'))
  // What is known now need not be asked for: the next request is the write.
  await backend.saveSnapshot(atTask('warm', 'b'))
  await backend.saveSnapshot(atTask('warm'))
  await backend.deleteSnapshot('warm')
})

/** Makes a call whose request arrives and whose reply is lost: the SDK then sends the request again. */
async function loseReply<T>(call: () => Promise<T>, hasLanded: () => Promise<boolean>): Promise<T> {
  proxy.swallowReplies()
  const calling = call()
  calling.catch(() => {})
  await vi.waitUntil(hasLanded, { timeout: 4000, interval: 10 })
  proxy.heal()
  return calling
}

async function claim(instanceId = 'i'): Promise<TaskClaim> {
  const held = await backend.claimTask({ instanceId, taskId: 'a', workerId: 'w', ttlMs: LONG_MS })
  return held ?? expect.fail('it should be free')
}

async function revision(): Promise<number> {
  return (await witness.loadSnapshot('i')).revision
}

describe('a request that the SDK repeats because its reply was lost counts as done, once', () => {
  test.each(['I', 'L'])('S7 a save that creates, at the item of kind %s', async (kind) => {
    const http = await startHttpProxy(inject('dynamodb').url)
    const creator = await open({ ...place(http.url), keyPrefix })
    let lost = 0
    http.loses = ({ body }) => {
      const { p } = (body.Item ?? {}) as { p?: { S: string } }
      if (lost === 1 || p?.S.startsWith(`${keyPrefix}#${kind}#`) !== true) return false
      lost += 1
      return true
    }
    const saved = await creator.saveSnapshot(atTask('new'), { expectedRevision: 0 })
    expect(lost).toBe(1)
    expect(saved.revision).toBe(1)
    expect((await witness.loadSnapshot('new')).revision).toBe(1)
    const listed = await Array.fromAsync(witness.listSnapshots(), ({ instanceId }) => instanceId)
    expect(listed).toEqual(['i', 'new'])
  })

  test('S7 a compare-and-set', async () => {
    const snapshot = await backend.loadSnapshot('i')
    const saved = await loseReply(
      () => backend.saveSnapshot(snapshot, { expectedRevision: 1 }),
      async () => (await revision()) === 2,
    )
    expect(saved.revision).toBe(2)
    expect(await revision()).toBe(2)
  })

  test('S7 a claim', async () => {
    await backend.loadSnapshot('i')
    const held = await loseReply(
      () => claim(),
      async () => (await witness.stats()).claimed === 1,
    )
    expect(await witness.renewTaskClaim(held, LONG_MS)).toMatchObject({ token: held.token })
    expect((await witness.stats()).claimed).toBe(1)
  })

  test('S7 a commit, and what its worker claims next', async () => {
    await witness.saveSnapshot(atTask('other'))
    const [first] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: LONG_MS })
    const held = first?.claim ?? expect.fail()
    const { instanceId } = held
    const receipt = await loseReply(
      () =>
        backend.commitTask({
          claim: held,
          outcome: { kind: 'completed', output: bytes('out'), next: { finalOutput: bytes('end') } },
          claimNext: { ttlMs: LONG_MS },
        }),
      async () => (await witness.loadSnapshot(instanceId)).revision === 2,
    )
    expect(receipt).toMatchObject({ revision: 2, status: 'completed' })
    const next = receipt.next?.claim ?? expect.fail()
    expect(next.instanceId).not.toBe(instanceId)
    expect(await witness.renewTaskClaim(next, LONG_MS)).toMatchObject({ token: next.token })
    const snapshot = await witness.loadSnapshot(instanceId)
    expect(snapshot.revision).toBe(2)
    expect([...snapshot.state.completedTasks.keys()]).toEqual(['a'])
  })

  test('S7 a commit over which others have written since', async () => {
    const held = await claim()
    const receipt = await loseReply(
      () =>
        backend.commitTask({
          claim: held,
          outcome: {
            kind: 'completed',
            output: bytes('out'),
            next: { position: { kind: 'at-task', taskId: 'b' } },
          },
        }),
      async () => {
        if ((await revision()) < 2) return false
        await witness.saveTaskResult({ instanceId: 'i', taskId: 'x', output: bytes('1') })
        await witness.saveTaskResult({ instanceId: 'i', taskId: 'y', output: bytes('2') })
        return true
      },
    )
    expect(receipt).toMatchObject({ revision: 2, status: 'in-progress' })
    expect(await revision()).toBe(4)
  })

  test('S7 a release, though another worker has claimed since', async () => {
    const held = await claim()
    let successor: TaskClaim | null = null
    await loseReply(
      () => backend.releaseTaskClaim(held),
      async () => {
        successor = await witness.claimTask({ ...held, workerId: 'w2', ttlMs: LONG_MS })
        return successor !== null
      },
    )
    if (successor === null) expect.fail()
    expect(await witness.renewTaskClaim(successor, LONG_MS)).toMatchObject({ workerId: 'w2' })
  })

  // These read first, so the reply is dropped by the client, not by the network.
  test.each(['with', 'without'])('S7 an event %s an id is queued once', async (kind) => {
    const { backend: dropping, drop } = await openDropping()
    drop('TransactWriteItemsCommand')
    await dropping.sendEvent('i', 'go', bytes('once'), kind === 'with' ? { eventId: 'e' } : {})
    expect(drop.dropped).toBe(1)
    expect(await witness.consumeEvent('i', 'go')).toEqual(bytes('once'))
    expect(await witness.consumeEvent('i', 'go')).toBeNull()
  })

  test('S7 a deletion, with or without a tombstone', async () => {
    const { backend: dropping, drop } = await openDropping()
    await dropping.saveSnapshot(atTask('claimed'))
    await dropping.claimTask({ instanceId: 'claimed', taskId: 'a', workerId: 'w', ttlMs: LONG_MS })
    drop('DeleteItemCommand')
    await dropping.deleteSnapshot('i')
    drop('PutItemCommand')
    await dropping.deleteSnapshot('claimed')
    expect(drop.dropped).toBe(2)
    for (const id of ['i', 'claimed'])
      await expect(witness.loadSnapshot(id)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('S7 several in one request of statements', async () => {
    const { backend: dropping, drop } = await openDropping()
    const ids = Array.from({ length: 100 }, (_, index) => `many${index}`)
    await Promise.all(ids.map((id) => dropping.saveSnapshot(atTask(id))))
    const claimed = await dropping.claimAvailableTasks({
      workerId: 'w',
      limit: 200,
      ttlMs: LONG_MS,
    })
    expect(claimed).toHaveLength(101)
    drop('BatchExecuteStatementCommand')
    const receipts = await Promise.all(
      claimed.map(({ claim: held }) =>
        dropping.commitTask({
          claim: held,
          outcome: { kind: 'completed', output: bytes('out'), next: { finalOutput: bytes('end') } },
        }),
      ),
    )
    expect(drop.dropped).toBe(1)
    expect(receipts).toEqual(claimed.map(() => ({ revision: 2, status: 'completed', next: null })))
  })
})

/** A backend whose client drops the reply of the next command of a name, as if the connection had been lost. */
async function openDropping(): Promise<{
  backend: PersistentBackend
  drop: { (command: string): void; dropped: number }
}> {
  const dropping = client(inject('dynamodb').url)
  let wanted = ''
  const drop = Object.assign(
    (command: string) => {
      wanted = command
    },
    { dropped: 0 },
  )
  dropping.middlewareStack.add(
    (next, context) => async (args) => {
      const reply = await next(args)
      if (context.commandName !== wanted) return reply
      wanted = ''
      drop.dropped += 1
      throw Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
    },
    { step: 'deserialize', priority: 'high' },
  )
  onTestFinished(() => dropping.destroy())
  const opened = await DynamoDBBackend.fromClient(dropping, { keyPrefix })
  onTestFinished(() => opened.close())
  return { backend: opened, drop }
}

describe('a service that can not be reached', () => {
  test('is UNAVAILABLE within a bounded time, and the same object goes on when it is back', async () => {
    const slow = await open({ ...place(proxy.url), requestTimeoutMs: 300 })
    await slow.saveSnapshot(atTask('i'))
    for (const fault of ['cut', 'blackhole'] as const) {
      proxy[fault]()
      const before = performance.now()
      const calls = [
        slow.loadSnapshot('i'),
        slow.saveSnapshot(atTask('i')),
        slow.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 1000 }),
        slow.stats(),
        slow.checkHealth(),
      ]
      for (const call of await Promise.allSettled(calls))
        expect(call).toMatchObject({ status: 'rejected', reason: { code: 'UNAVAILABLE' } })
      expect(performance.now() - before).toBeLessThan(5000)
      proxy.heal()
      expect((await slow.loadSnapshot('i')).instanceId).toBe('i')
    }
  })

  test('a wait goes on when the service is back', async () => {
    const waiting = open({ ...place(proxy.url), requestTimeoutMs: 300, keyPrefix: namespace() })
    const slow = await waiting
    proxy.blackhole()
    await expect(slow.waitForWakeup({ timeoutMs: 2000 })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    })
    proxy.heal()
    expect(await slow.waitForWakeup({ timeoutMs: 1 })).toBeNull()
  })
})
