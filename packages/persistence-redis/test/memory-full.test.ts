import { RedisBackend } from '@sayiir/persistence-redis'
import { type Service, startService } from '@sayiir/services'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { atTask, bytes, claimOne, completed, failureOf } from './workflows.ts'

let server: Service
let admin: Redis

beforeAll(async () => {
  server = await startService('redis')
  admin = new Redis(server.url)
})

afterAll(async () => {
  admin.disconnect()
  await server.stop()
})

test('a full memory is told, nothing is half written, and deleting makes room', async () => {
  const backend = await RedisBackend.connect({ url: server.url })
  const before = await backend.saveSnapshot(atTask('i'))
  await backend.saveSnapshot(atTask('gone'))
  const { claim } = await claimOne(backend)
  const dump = await contents()
  await admin.config('SET', 'maxmemory', '1')
  const refused = [
    () => backend.saveSnapshot(atTask('new')),
    () => backend.saveSnapshot(before),
    () => backend.saveTaskResult({ instanceId: 'i', taskId: 'z', output: bytes('z') }),
    () => backend.commitTask({ claim, outcome: completed('out', 'b') }),
    () => backend.sendEvent('i', 'go', bytes('x')),
    () => backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 1000 }),
  ]
  for (const call of refused) {
    const error = await failureOf(call())
    expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    expect(error.message).toMatch(/memory is full/)
  }
  expect(await contents()).toEqual(dump)
  expect(await backend.loadSnapshot('i')).toEqual(before)
  expect((await backend.findAvailableTasks({ workerId: 'w', limit: 5 })).length).toBe(1)
  await backend.renewTaskClaim(claim, 60_000)
  await backend.deleteSnapshot('gone')
  await admin.config('SET', 'maxmemory', '0')
  await backend.commitTask({ claim, outcome: completed('out', null) })
  await backend.close()
})

test('a server that may drop keys is refused at connect, unless that is allowed', async () => {
  await admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
  const error = await failureOf(RedisBackend.connect({ url: server.url }))
  expect(error).toMatchObject({ code: 'BACKEND' })
  expect(error.message).toMatch(/allkeys-lru.*noeviction/)
  await (await RedisBackend.connect({ url: server.url, allowEviction: true })).close()
  await admin.config('SET', 'maxmemory-policy', 'volatile-lru')
  await (await RedisBackend.connect({ url: server.url })).close()
  await admin.config('SET', 'maxmemory-policy', 'noeviction')
})

test('where replicas are to be waited for and there are none, that is told', async () => {
  const waitReplicas = { count: 1, timeoutMs: 50 }
  const error = await failureOf(
    RedisBackend.connect({ url: server.url, keyPrefix: 'w:', waitReplicas }),
  )
  expect(error).toMatchObject({ code: 'UNAVAILABLE' })
  expect(error.message).toMatch(/0 of 1 replicas/)
})

test('a password that is wrong is told, and not the password', async () => {
  await admin.call('ACL', 'SETUSER', 'someone', 'on', '>right', '~*', '&*', '+@all')
  const url = server.url.replace('redis://', 'redis://someone:hunter2@')
  const error = await failureOf(RedisBackend.connect({ url, commandTimeoutMs: 1000 }))
  expect(error).toMatchObject({ code: 'BACKEND', retryable: false })
  expect(error.message).toContain('refused the user name or password')
  expect(error.message).not.toContain('hunter2')
})

/** Everything that is stored but for what clients were answered. */
async function contents(): Promise<Record<string, string | null>> {
  const all: Record<string, string | null> = {}
  for (const key of (await admin.keys('*')).sort()) {
    if (!key.endsWith(':meta')) all[key] = (await admin.dumpBuffer(key))?.toString('hex') ?? null
  }
  return all
}
