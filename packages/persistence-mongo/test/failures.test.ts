import { createSnapshot, type PersistentBackend, type TaskClaim } from '@sayiir/persistence-core'
import { MongoBackend } from '@sayiir/persistence-mongo'
import { startProxy, startService } from '@sayiir/services'
import { MongoClient } from 'mongodb'
import { expect, inject, test } from 'vitest'
import { TestCollections } from './collections.ts'

const TIMEOUT_MS = 1500

function atTask(instanceId: string) {
  const position = { kind: 'at-task', taskId: 'a' } as const
  return createSnapshot({ instanceId, definitionHash: 'd', position })
}

async function claimed(backend: PersistentBackend, instanceId: string): Promise<TaskClaim> {
  const claim = await backend.claimTask({
    instanceId,
    taskId: 'a',
    workerId: 'w',
    ttlMs: 600_000,
  })
  return claim ?? expect.fail('not claimed')
}

/** A backend whose connections go through a proxy. */
async function proxied(retryWrites: boolean) {
  const proxy = await startProxy(inject('mongodb').url)
  const t = new TestCollections()
  const backend = await t.open({
    url: proxy.url,
    timeoutMs: TIMEOUT_MS,
    clientOptions: { retryWrites, heartbeatFrequencyMS: 500 },
  })
  return { proxy, t, backend, direct: await t.open() }
}

test.each(['cut', 'blackhole'] as const)(
  'a network that is %s is UNAVAILABLE in bounded time, and the same backend goes on',
  async (fault) => {
    const { proxy, t, backend } = await proxied(true)
    await using _ = t
    await backend.saveSnapshot(atTask('i'))
    proxy[fault]()
    const started = performance.now()
    const calls = [
      backend.loadSnapshot('i'),
      backend.saveSnapshot(atTask('j')),
      backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 1000 }),
      backend.stats(),
      backend.listSnapshots()[Symbol.asyncIterator]().next(),
    ]
    for (const result of await Promise.allSettled(calls)) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'UNAVAILABLE' } })
    }
    // A call may be sent once more.
    expect(performance.now() - started).toBeLessThan(4 * TIMEOUT_MS)
    proxy.heal()
    await expect
      .poll(() => backend.loadSnapshot('i').then(({ instanceId }) => instanceId, String), {
        timeout: 30_000,
      })
      .toBe('i')
    await backend.saveSnapshot(atTask('k'))
    await proxy.close()
  },
)

test.each([true, false])(
  'a write whose reply is lost counts once (retryWrites %s)',
  async (retryWrites) => {
    const { proxy, t, backend, direct } = await proxied(retryWrites)
    await using _ = t
    const saved = await backend.saveSnapshot(atTask('i'))
    const claim = await claimed(backend, 'i')

    const lost = async <T>(call: () => Promise<T>, landed: () => Promise<unknown>): Promise<T> => {
      proxy.swallowReplies()
      const calling = call()
      await expect.poll(landed, { timeout: 30_000 }).toBeTruthy()
      proxy.heal()
      return calling
    }
    // A new instance.
    const created = await lost(
      () => backend.saveSnapshot(atTask('j'), { expectedRevision: 0 }),
      () => direct.loadSnapshot('j').then(Boolean, () => false),
    )
    expect(created.revision).toBe(1)
    // A compare-and-set.
    const overwritten = await lost(
      () => backend.saveSnapshot({ ...created, traceParent: null }, { expectedRevision: 1 }),
      async () => (await direct.loadSnapshot('j')).revision === 2,
    )
    expect(overwritten.revision).toBe(2)
    // A commit.
    const output = new Uint8Array([7])
    const receipt = await lost(
      () =>
        backend.commitTask({
          claim,
          outcome: { kind: 'completed', output, next: { finalOutput: output } },
        }),
      async () => (await direct.loadSnapshot('i')).state.status === 'completed',
    )
    expect(receipt).toMatchObject({ revision: saved.revision + 1, status: 'completed' })
    expect((await direct.loadSnapshot('i')).revision).toBe(saved.revision + 1)
    await proxy.close()
  },
)

test('commits that travel together, and whose reply is lost, count once each', async () => {
  const { proxy, t, backend, direct } = await proxied(false)
  await using _ = t
  const ids = Array.from({ length: 20 }, (_, index) => `i${index}`)
  await Promise.all(ids.map((id) => backend.saveSnapshot(atTask(id))))
  const worker = { workerId: 'w', limit: 20, ttlMs: 600_000 }
  const tasks = await backend.claimAvailableTasks(worker)
  expect(tasks).toHaveLength(20)
  proxy.swallowReplies()
  const output = new Uint8Array([7])
  const outcome = { kind: 'completed', output, next: { finalOutput: output } } as const
  const committing = Promise.all(tasks.map(({ claim }) => backend.commitTask({ claim, outcome })))
  await expect
    .poll(async () => (await direct.stats()).byStatus.completed, { timeout: 30_000 })
    .toBeGreaterThan(0)
  proxy.heal()
  const receipts = await committing
  expect(receipts.map(({ revision, status }) => ({ revision, status }))).toEqual(
    ids.map(() => ({ revision: 2, status: 'completed' })),
  )
  await proxy.close()
})

test('a claim of a task whose reply is lost is found again', async () => {
  const { proxy, t, backend, direct } = await proxied(false)
  await using _ = t
  await backend.saveSnapshot(atTask('i'))
  proxy.swallowReplies()
  const calling = claimed(backend, 'i')
  await expect.poll(async () => (await direct.stats()).claimed, { timeout: 30_000 }).toBe(1)
  proxy.heal()
  const claim = await calling
  await direct.renewTaskClaim(claim, 1000)
  await proxy.close()
})

test('S7 what became of a write is read once a majority has what came before', async () => {
  const proxy = await startProxy(inject('mongodb').url)
  await using t = new TestCollections()
  const direct = await t.open()
  const client = new MongoClient(proxy.url, { monitorCommands: true, retryWrites: false })
  const backend = await MongoBackend.fromClient(await client.connect(), t.options)
  await backend.saveSnapshot(atTask('i'))
  const claim = await claimed(backend, 'i')
  const sent: string[] = []
  client.on('commandStarted', ({ command, commandName }) => {
    if (command[commandName] !== t.instances.collectionName) return
    const [update] = command.updates?.map(({ u }: { u: unknown }) => JSON.stringify(u)) ?? []
    sent.push(update === '[{"$set":{"_id":"$_id"}}]' ? 'catch up' : commandName)
  })
  const output = new Uint8Array([7])
  const outcome = { kind: 'completed', output, next: { finalOutput: output } } as const
  proxy.swallowReplies()
  const committing = backend.commitTask({ claim, outcome })
  await expect
    .poll(async () => (await direct.loadSnapshot('i')).state.status, { timeout: 30_000 })
    .toBe('completed')
  proxy.heal()
  expect(await committing).toMatchObject({ status: 'completed', revision: 2 })
  expect(sent.slice(-2)).toEqual(['catch up', 'find'])
  await backend.close()
  await client.close()
  await proxy.close()
})

test('claims of several tasks whose reply is lost are found again', async () => {
  const proxy = await startProxy(inject('mongodb').url)
  await using t = new TestCollections()
  const direct = await t.open()
  const ids = Array.from({ length: 10 }, (_, index) => `i${index}`)
  await Promise.all(ids.map((id) => direct.saveSnapshot(atTask(id))))
  const client = new MongoClient(proxy.url, { monitorCommands: true, retryWrites: false })
  const backend = await MongoBackend.fromClient(await client.connect(), t.options)
  let isFirst = true
  client.on('commandStarted', ({ commandName }) => {
    if (commandName !== 'update' || !isFirst) return
    isFirst = false
    proxy.swallowReplies()
  })
  const claiming = backend.claimAvailableTasks({ workerId: 'w', limit: 10, ttlMs: 600_000 })
  await expect.poll(async () => (await direct.stats()).claimed, { timeout: 30_000 }).toBe(10)
  proxy.heal()
  const tasks = await claiming
  expect(tasks.map(({ task }) => task.instanceId).toSorted()).toEqual(ids)
  await direct.renewTaskClaim(tasks[0]?.claim ?? expect.fail('nothing was claimed'), 1000)
  await backend.close()
  await client.close()
  await proxy.close()
})

// A server that was there before is not ours to kill.
const isGiven = process.env.SAYIIR_TEST_MONGODB_URL !== undefined

test.skipIf(isGiven)(
  'a server that is killed and comes back is UNAVAILABLE meanwhile; nothing is lost',
  async () => {
    const server = await startService('mongodb')
    try {
      await using t = new TestCollections(server.url)
      const backend = await t.open({ timeoutMs: TIMEOUT_MS })
      await backend.saveSnapshot(atTask('i'))
      const claim = await claimed(backend, 'i')
      await server.kill()
      await expect(backend.loadSnapshot('i')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
      await server.restart()
      await expect
        .poll(() => backend.loadSnapshot('i').then(({ instanceId }) => instanceId, String), {
          timeout: 30_000,
        })
        .toBe('i')
      const output = new Uint8Array([1])
      await backend.commitTask({
        claim,
        outcome: { kind: 'completed', output, next: { finalOutput: output } },
      })
    } finally {
      await server.stop()
    }
  },
  120_000,
)

test('no message has the password', async () => {
  const url = 'mongodb://user:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=300'
  for (const bad of [url, `${url}&nonsense=1`, 'mongodb://user:hunter2@[bad']) {
    const error = await MongoBackend.connect({ url: bad, timeoutMs: 300 }).then(
      () => expect.fail('connected'),
      (reason: unknown) => reason as Error,
    )
    expect(error.message).not.toContain('hunter2')
    expect(error).toMatchObject({ name: 'BackendError' })
  }
})

test('wrong options are refused before anything is opened', async () => {
  const url = 'mongodb://127.0.0.1:1'
  for (const options of [
    {},
    { url: 'http://127.0.0.1' },
    { url, database: 'a/b' },
    { url, database: '' },
    { url, collectionPrefix: '1' },
    { url, collectionPrefix: 'a.b' },
    { url, writeConcern: 0 },
    { url, readConcern: 'strong' },
    { url, timeoutMs: 0 },
    { url, pollIntervalMs: -1 },
    { url, maxPayloadBytes: 0 },
  ]) {
    const refused = MongoBackend.connect(options as never)
    await expect(refused).rejects.toSatisfy(
      (error) => error instanceof TypeError || error instanceof RangeError,
    )
  }
})
