import { RedisBackend } from '@sayiir/persistence-redis'
import { type Service, startService } from '@sayiir/services'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { scripts } from '../src/scripts.ts'
import { atTask, claimOne, completed } from './workflows.ts'

const WAITERS = 100
const BACKENDS = 10

let server: Service
let monitor: Redis
let keyPrefix: string
let prefixes = 0
let calls: Record<'look' | 'claim-available', number>
let backends: RedisBackend[]
const closing: (() => unknown)[] = []

beforeAll(async () => {
  server = await startService('redis')
  monitor = await new Redis(server.url).monitor()
  monitor.on('monitor', (_time: string, [command = '', sha]: string[]) => {
    if (command.toLowerCase() !== 'evalsha') return
    for (const name of ['look', 'claim-available'] as const) {
      if (scripts[name].sha === sha) calls[name] += 1
    }
  })
})

afterAll(async () => {
  monitor.disconnect()
  await server.stop()
})

beforeEach(() => {
  prefixes += 1
  keyPrefix = `wakeup-${prefixes}:`
  backends = []
  calls = { look: 0, 'claim-available': 0 }
})

afterEach(async () => {
  for (const close of closing.splice(0)) close()
  await Promise.all(backends.map((backend) => backend.close()))
})

/** One that looks by itself so seldom that nothing of it is seen here. */
async function connect(): Promise<RedisBackend> {
  const backend = await RedisBackend.connect({ url: server.url, keyPrefix, pollIntervalMs: 60_000 })
  backends.push(backend)
  return backend
}

/** Workers that claim, work and wait by turns. */
function startWorkers(all: readonly RedisBackend[]): { done: number } {
  const progress = { done: 0 }
  const stop = new AbortController()
  closing.push(() => stop.abort())
  const work = async (backend: RedisBackend, workerId: string): Promise<void> => {
    while (!stop.signal.aborted) {
      const [claimed] = await backend.claimAvailableTasks({ workerId, limit: 1, ttlMs: 60_000 })
      if (claimed === undefined) {
        await backend.waitForWakeup({ timeoutMs: 60_000 })
        continue
      }
      await backend.commitTask({ claim: claimed.claim, outcome: completed('out', null) })
      progress.done += 1
    }
  }
  for (let index = 0; index < WAITERS; index += 1) {
    work(all[index % all.length]!, `worker-${index}`).catch(() => undefined)
  }
  return progress
}

/** Until nobody has anything to ask for. */
async function quiet(): Promise<void> {
  for (let last = -1; ; ) {
    const sum = calls.look + calls['claim-available']
    if (sum === last) return
    last = sum
    await new Promise((resolve) => setTimeout(resolve, 400))
  }
}

test('of a hundred who wait on one object one goes for a task', async () => {
  const producer = await connect()
  const progress = startWorkers([await connect()])
  await quiet()
  calls = { look: 0, 'claim-available': 0 }
  await producer.saveSnapshot(atTask('i'))
  await vi.waitUntil(() => progress.done === 1, 30_000)
  await quiet()
  // The one that works comes back and waits again; one look is for all others.
  expect(calls['claim-available']).toBeLessThanOrEqual(4)
  expect(calls.look).toBeLessThanOrEqual(4)
})

test('of ten objects with ten each few go for a task, and each object looks about once', async () => {
  const producer = await connect()
  const all: RedisBackend[] = []
  for (let index = 0; index < BACKENDS; index += 1) all.push(await connect())
  const progress = startWorkers(all)
  await quiet()
  calls = { look: 0, 'claim-available': 0 }
  await producer.saveSnapshot(atTask('i'))
  await vi.waitUntil(() => progress.done === 1, 30_000)
  await quiet()
  expect(calls['claim-available']).toBeLessThanOrEqual(2 * BACKENDS)
  expect(calls.look).toBeLessThanOrEqual(3 * BACKENDS)
})

test('everybody has something to do soon where there is work for all', async () => {
  const producer = await connect()
  const progress = startWorkers([await connect(), await connect()])
  await quiet()
  await Promise.all(
    Array.from({ length: WAITERS * 2 }, (_, index) => producer.saveSnapshot(atTask(`i${index}`))),
  )
  await vi.waitUntil(() => progress.done === WAITERS * 2, 30_000)
})

test('a wait that was over at once does not get in the way of the next', async () => {
  const [producer, worker] = [await connect(), await connect()]
  const idle = worker.waitForWakeup({ timeoutMs: 60_000 })
  await quiet()
  await producer.saveSnapshot(atTask('first'))
  expect(await idle).toMatchObject({ instanceId: 'first' })
  expect(await worker.waitForWakeup({ timeoutMs: 60_000 })).toMatchObject({ instanceId: 'first' })
  await claimOne(worker)
  await quiet()
  calls = { look: 0, 'claim-available': 0 }
  const next = worker.waitForWakeup({ timeoutMs: 60_000 })
  await vi.waitUntil(() => calls.look === 1, 30_000)
  await producer.saveSnapshot(atTask('second'))
  expect(await next).toMatchObject({ instanceId: 'second' })
  // It was told; had it had to look, that would be a second one.
  expect(calls.look).toBe(1)
})
