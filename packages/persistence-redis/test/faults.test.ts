import { RedisBackend } from '@sayiir/persistence-redis'
import { type Service, startProxy, startService, type TcpProxy } from '@sayiir/services'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { atTask, bytes, claimOne, completed, failureOf } from './workflows.ts'

/** Milliseconds until a call that is not answered fails. */
const COMMAND_MS = 1000

let server: Service
let proxy: TcpProxy
let behind: RedisBackend
let direct: RedisBackend
let prefixes = 0
let keyPrefix: string

beforeAll(async () => {
  server = await startService('redis')
  proxy = await startProxy(server.url)
  // So that the server knows the scripts: a reply that is lost is then that of the call itself.
  const warm = await RedisBackend.connect({ url: server.url, keyPrefix: 'warm:' })
  await warm.saveSnapshot(atTask('i'))
  await warm.releaseTaskClaim((await claimOne(warm)).claim)
  await warm.close()
})

afterAll(async () => {
  await proxy.close()
  await server.stop()
})

beforeEach(async () => {
  prefixes += 1
  keyPrefix = `faults-${prefixes}:`
  const options = { keyPrefix, commandTimeoutMs: COMMAND_MS, pollIntervalMs: 200 }
  behind = await RedisBackend.connect({ url: proxy.url, ...options })
  direct = await RedisBackend.connect({ url: server.url, ...options })
  return async () => {
    proxy.heal()
    await Promise.all([behind.close(), direct.close()])
  }
})

async function timeOf(work: Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work
  return performance.now() - startedAt
}

/** Waits until a call works again. */
async function recovers(backend: RedisBackend): Promise<void> {
  for (;;) {
    try {
      return await backend.checkHealth()
    } catch (error) {
      expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    }
  }
}

test('a connection that is half open is UNAVAILABLE in time, and the object goes on by itself', async () => {
  await behind.saveSnapshot(atTask('i'))
  proxy.blackhole()
  const calls = [
    failureOf(behind.loadSnapshot('i')),
    failureOf(behind.saveSnapshot(atTask('j'))),
    failureOf(behind.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 1000 })),
    failureOf(behind.waitForWakeup({ timeoutMs: 60_000, tags: ['x'] })),
  ]
  const ms = await timeOf(
    Promise.all(
      calls.map(async (call) => expect(await call).toMatchObject({ code: 'UNAVAILABLE' })),
    ),
  )
  expect(ms).toBeLessThan(COMMAND_MS * 3)
  proxy.heal()
  await recovers(behind)
  expect((await behind.loadSnapshot('i')).revision).toBe(1)
})

test('S7 calls whose replies are lost are sent again and count once', async () => {
  const saved = await behind.saveSnapshot(atTask('i'))
  await direct.saveSnapshot(atTask('work'))
  proxy.swallowReplies()
  const save = behind.saveSnapshot(saved, { expectedRevision: 1 })
  // It has landed, and somebody else has written since; then its reply is lost for good.
  for (;;) if ((await direct.loadSnapshot('i')).revision === 2) break
  await direct.saveTaskResult({ instanceId: 'i', taskId: 'other', output: bytes('x') })
  proxy.heal()
  expect((await save).revision).toBe(2)
  const { revision, state } = await direct.loadSnapshot('i')
  expect(revision).toBe(3)
  expect([...state.completedTasks.keys()]).toEqual(['other'])
})

test('S7 instances whose first save lost its reply are not taken for somebody else’s', async () => {
  // From then on the server's time is known, and nothing is asked before a save.
  await behind.saveSnapshot(atTask('first'))
  let known = 1
  for (const ids of [['alone'], ['a', 'b', 'c']]) {
    proxy.swallowReplies()
    const saves = ids.map((id) => behind.saveSnapshot(atTask(id), { expectedRevision: 0 }))
    const there = known + ids.length
    while (known < there) known = (await direct.stats()).available
    proxy.heal()
    for (const { revision } of await Promise.all(saves)) expect(revision).toBe(1)
  }
  expect((await direct.stats()).available).toBe(5)
})

test('S7 a claim whose reply is lost is not lost itself', async () => {
  await direct.saveSnapshot(atTask('i'))
  proxy.swallowReplies()
  const claiming = behind.claimAvailableTasks({ workerId: 'w', limit: 5, ttlMs: null })
  for (;;) if ((await direct.stats()).claimed === 1) break
  proxy.heal()
  const [claimed] = await claiming
  expect(claimed).toMatchObject({ task: { instanceId: 'i', deliveries: 1 } })
  if (claimed === undefined) return
  proxy.swallowReplies()
  const commit = behind.commitTask({ claim: claimed.claim, outcome: completed('out', 'b') })
  for (;;) if ((await direct.loadSnapshot('i')).revision === 2) break
  proxy.heal()
  expect(await commit).toMatchObject({ revision: 2, status: 'in-progress' })
  // The same of a release, though somebody else has the task by then.
  const again = await claimOne(behind)
  proxy.swallowReplies()
  const release = behind.releaseTaskClaim(again.claim)
  for (;;) if ((await direct.stats()).claimed === 0) break
  await claimOne(direct, 'worker-2')
  proxy.heal()
  expect(await release).toBeUndefined()
  expect((await direct.stats()).claimed).toBe(1)
})

test('calls in flight survive resets', async () => {
  for (let round = 0; round < 5; round += 1) {
    const saves = Array.from({ length: 50 }, (_, index) =>
      behind.saveSnapshot(atTask(`i${round}-${index}`), { expectedRevision: 0 }),
    )
    setImmediate(() => proxy.reset())
    for (const { revision } of await Promise.all(saves)) expect(revision).toBe(1)
  }
  expect((await direct.stats()).byStatus['in-progress']).toBe(250)
})

test('a wait outlasts a reset, a dead connection and a restart', async () => {
  const faults = [
    () => proxy.reset(),
    async () => {
      proxy.cut()
      await server.restart()
      proxy.heal()
    },
    () => proxy.blackhole(),
  ]
  for (const [index, fault] of faults.entries()) {
    const waiting = behind.waitForWakeup({ timeoutMs: 60_000 })
    waiting.catch(() => undefined)
    await recovers(behind)
    await fault()
    await recovers(direct)
    const lost = setTimeout(() => proxy.heal(), COMMAND_MS)
    await direct.saveSnapshot(atTask(`i${index}`))
    expect(await waiting).toMatchObject({ instanceId: `i${index}` })
    clearTimeout(lost)
    proxy.heal()
    await recovers(behind)
    const { claim } = await claimOne(behind)
    await behind.commitTask({ claim, outcome: completed('out', null) })
  }
})

test('what was acknowledged under `appendfsync always` is there after kill -9', async () => {
  const admin = new Redis(server.url)
  await admin.config('SET', 'appendfsync', 'always')
  admin.disconnect()
  const acknowledged: string[] = []
  const saving = (async () => {
    for (let index = 0; ; index += 1) {
      try {
        await direct.saveSnapshot(atTask(`i${index}`))
      } catch {
        return
      }
      acknowledged.push(`i${index}`)
    }
  })()
  while (acknowledged.length < 200) await new Promise((resolve) => setTimeout(resolve, 5))
  await server.kill()
  await saving
  await server.restart()
  await recovers(direct)
  const stored = new Set<string>()
  for await (const { instanceId } of direct.listSnapshots()) stored.add(instanceId)
  expect(acknowledged.filter((id) => !stored.has(id))).toEqual([])
  // Scripts are gone with the old process, and come back by themselves.
  expect((await claimOne(direct)).claim.token).toBeGreaterThan(0)
})
