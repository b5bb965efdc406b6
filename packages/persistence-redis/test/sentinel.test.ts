import { RedisBackend, type RedisConnectOptions } from '@sayiir/persistence-redis'
import { type Service, startService } from '@sayiir/services'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { atTask, claimOne, completed, failureOf } from './workflows.ts'

/** Milliseconds until a call that is not answered fails. */
const COMMAND_MS = 1000
/** Waits for a replica, however busy the machine. */
const PATIENT = {
  commandTimeoutMs: 50_000,
  waitReplicas: { count: 1, timeoutMs: 40_000 },
} as const

let service: Service
let master: Redis
let replica: Redis
const backends: RedisBackend[] = []

beforeEach(async () => {
  service = await startService('redis-sentinel')
  const [, first = '', second = ''] = service.urls
  // Not again on a new connection: a server that is back would be taken away once more.
  const once = { maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false }
  master = new Redis(first, once)
  replica = new Redis(second, once)
  // They are taken away on purpose.
  for (const server of [master, replica]) server.on('error', () => undefined)
}, 60_000)

afterEach(async () => {
  await Promise.all(backends.splice(0).map((backend) => backend.close()))
  master.disconnect()
  replica.disconnect()
  await service.stop()
})

async function connect(options: Partial<RedisConnectOptions> = {}): Promise<RedisBackend> {
  const { hostname, port } = new URL(service.url)
  const backend = await RedisBackend.connect({
    options: { sentinels: [{ host: hostname, port: Number(port) }], name: 'mymaster' },
    commandTimeoutMs: COMMAND_MS,
    pollIntervalMs: 200,
    ...options,
  })
  backends.push(backend)
  return backend
}

/** Calls until it works; how long each call took that did not. */
async function untilItWorks<T>(call: () => Promise<T>): Promise<{ value: T; failed: number[] }> {
  const failed: number[] = []
  for (;;) {
    const startedAt = performance.now()
    try {
      return { value: await call(), failed }
    } catch (error) {
      expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
      failed.push(performance.now() - startedAt)
    }
  }
}

async function roleOf(server: Redis): Promise<string> {
  return String(((await server.call('ROLE')) as unknown[])[0])
}

const outages: Record<string, () => Promise<unknown>> = {
  'that crashes': () => master.call('SHUTDOWN', 'NOSAVE', 'NOW').catch(() => undefined),
  // It keeps its connections, and comes back as a replica.
  'that hangs': () => master.call('CLIENT', 'PAUSE', 6000, 'ALL'),
}

test.each(Object.entries(outages))(
  'a master %s is UNAVAILABLE in bounded time, and the work goes on at its replica',
  async (_what, takeAway) => {
    const [worker, producer] = [await connect(), await connect(PATIENT)]
    const ids = Array.from({ length: 20 }, (_, index) => `i${index}`)
    await Promise.all(ids.map((id) => producer.saveSnapshot(atTask(id))))
    const held = await claimOne(worker)
    const waiting = worker.waitForWakeup({ timeoutMs: 60_000, tags: [], definitionHashes: ['new'] })
    waiting.catch(() => undefined)
    // Replies come in order: with the second one the wait has had its first look.
    await worker.checkHealth()
    await worker.checkHealth()
    await takeAway()

    const { value: receipt, failed } = await untilItWorks(() =>
      worker.commitTask({ claim: held.claim, outcome: completed('out', 'b') }),
    )
    expect(receipt).toMatchObject({ revision: 2, status: 'in-progress' })
    expect(failed.length).toBeGreaterThan(0)
    expect(Math.max(...failed)).toBeLessThan(COMMAND_MS * 3)
    expect(await roleOf(replica)).toBe('master')

    // Nothing that a replica had acknowledged is lost, and no script is missing.
    const stored: string[] = []
    for await (const { instanceId } of worker.listSnapshots()) stored.push(instanceId)
    expect(stored.toSorted()).toEqual(ids.toSorted())
    const tokens = new Set([held.claim.token])
    for (const claimed of await worker.claimAvailableTasks({
      workerId: 'w',
      limit: 30,
      ttlMs: 60_000,
    })) {
      expect(claimed.claim.token).toBeGreaterThan(held.claim.token)
      tokens.add(claimed.claim.token)
    }
    expect(tokens.size).toBe(21)

    // Who waited still waits, and hears.
    const other = await connect()
    await untilItWorks(() => other.saveSnapshot({ ...atTask('late'), definitionHash: 'new' }))
    expect(await waiting).toMatchObject({ instanceId: 'late' })
  },
  60_000,
)

test('waitReplicas waits until a replica has the change, and tells when too few have', async () => {
  const patient = await connect(PATIENT)
  const has = async (server: Redis, id: string): Promise<boolean> =>
    (await server.hexists('sayiir:{0}:instances', id)) === 1
  await patient.saveSnapshot(atTask('both'))
  expect(await has(replica, 'both')).toBe(true)
  // To connect writes, too, which the replica of a busy machine may not have in time.
  const { value: hasty } = await untilItWorks(() =>
    connect({ waitReplicas: { count: 1, timeoutMs: 100 } }),
  )

  await replica.call('REPLICAOF', 'NO', 'ONE')
  const error = await failureOf(hasty.saveSnapshot(atTask('alone')))
  expect(error).toMatchObject({ code: 'UNAVAILABLE' })
  expect(error.message).toMatch(/only 0 of 1 replicas/)
  // It was made here, though.
  expect(await has(master, 'alone')).toBe(true)
  expect(await has(replica, 'alone')).toBe(false)

  let isAcknowledged = false
  const saving = patient.saveSnapshot(atTask('late')).then(() => {
    isAcknowledged = true
  })
  await vi.waitUntil(() => has(master, 'late'), 30_000)
  expect(isAcknowledged).toBe(false)
  const { hostname, port } = new URL(service.urls[1] ?? '')
  await replica.call('REPLICAOF', hostname, port)
  await saving
  expect(await has(replica, 'late')).toBe(true)
}, 60_000)
