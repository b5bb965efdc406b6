import { PostgresBackend } from '@sayiir/persistence-postgres'
import { type Service, startProxy, startService } from '@sayiir/services'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { atTask, codeOf, END, freshSchema, until } from './work.ts'

let server: Service
beforeAll(async () => {
  server = await startService('postgres')
}, 120_000)
afterAll(() => server?.stop())

const SHORT = { callTimeoutMs: 1000, connectTimeoutMs: 1000, pollIntervalMs: 20 }

function works(backend: PostgresBackend): Promise<boolean> {
  return backend.checkHealth().then(
    () => true,
    () => false,
  )
}

test('a server that is killed is UNAVAILABLE; when it is back, all goes on', async () => {
  const options = { url: server.url, schema: freshSchema(), ...SHORT }
  await using backend = await PostgresBackend.connect(options)
  await backend.saveSnapshot(atTask('before'))
  const [claimed] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 600_000 })
  const waiting = backend.waitForWakeup({ timeoutMs: 60_000 }).catch(() => 'failed')
  await server.kill()
  expect(await codeOf(backend.saveSnapshot(atTask('during')))).toBe('UNAVAILABLE')
  await waiting
  await server.restart()
  await until(() => works(backend))
  await backend.commitTask({ claim: claimed!.claim, outcome: END })
  const woken = backend.waitForWakeup({ timeoutMs: 20_000 })
  await backend.saveSnapshot(atTask('after'))
  expect(await woken).toMatchObject({ instanceId: 'after' })
}, 60_000)

test('a black hole is UNAVAILABLE within the time that a call has; then all goes on', async () => {
  const proxy = await startProxy(server.url)
  const options = { url: proxy.url, schema: freshSchema(), ...SHORT }
  await using backend = await PostgresBackend.connect(options)
  proxy.blackhole()
  expect(await codeOf(backend.saveSnapshot(atTask('i')))).toBe('UNAVAILABLE')
  proxy.heal()
  await until(() => works(backend))
  await backend.saveSnapshot(atTask('j'))
  await backend.close()
  await proxy.close()
}, 60_000)

test('S7: a commit whose reply is lost counts once, and is answered when it is repeated', async () => {
  const proxy = await startProxy(server.url)
  const options = { url: proxy.url, schema: freshSchema(), ...SHORT }
  const backend = await PostgresBackend.connect(options)
  await backend.saveSnapshot(atTask('i'))
  const [claimed] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 600_000 })
  const commit = { claim: claimed!.claim, outcome: END }
  proxy.swallowReplies()
  expect(await codeOf(backend.commitTask(commit))).toBe('UNAVAILABLE')
  proxy.heal()
  await until(() => works(backend))
  expect(await backend.commitTask(commit)).toEqual({ revision: 2, status: 'completed', next: null })
  expect((await backend.loadSnapshot('i')).revision).toBe(2)
  await backend.close()
  await proxy.close()
}, 60_000)

test('D9: connections that the server ends, the one for wakeups too, are made anew', async () => {
  const schema = freshSchema()
  const admin = postgres(server.url, { max: 1, onnotice: () => {} })
  await using backend = await PostgresBackend.connect({ url: server.url, schema, ...SHORT })
  await using other = await PostgresBackend.connect({ url: server.url, schema })
  expect(await backend.waitForWakeup({ timeoutMs: 50 })).toBeNull()
  expect(backend.capabilities.wakeups).toBe('push')
  const killed = await admin`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND query LIKE 'LISTEN %'`
  expect(killed).toHaveLength(1)
  await until(() => backend.capabilities.wakeups === 'poll')
  const woken = backend.waitForWakeup({ timeoutMs: 20_000 })
  await other.saveSnapshot(atTask('i'))
  expect(await woken).toMatchObject({ instanceId: 'i' })
  const taken = { workerId: 'w', limit: 1, ttlMs: 600_000 }
  await other.claimAvailableTasks(taken)
  await until(async () => {
    await backend.waitForWakeup({ timeoutMs: 50 })
    return backend.capabilities.wakeups === 'push'
  })
  await admin.end()
}, 60_000)

test('a server without a free connection is UNAVAILABLE; then all goes on', async () => {
  const schema = freshSchema()
  await using backend = await PostgresBackend.connect({ url: server.url, schema, ...SHORT })
  await backend.saveSnapshot(atTask('i'))
  const admin = postgres(server.url, { max: 1, onnotice: () => {} })
  const [row] = await admin`SHOW max_connections`
  const most = Number(row?.max_connections)
  const crowd = postgres(server.url, { max: 2 * most, onnotice: () => {} })
  const takeAll = async () => {
    const taken = Array.from({ length: most }, () =>
      crowd`SELECT pg_sleep(600)`.catch((error: { code?: string }) => error.code),
    )
    expect(await Promise.race(taken)).toBe('53300')
  }
  await takeAll()
  await admin`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'sayiir'`
  await takeAll()
  expect(await codeOf(backend.loadSnapshot('i'))).toBe('UNAVAILABLE')
  await admin`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()`
  await until(() => works(backend))
  expect((await backend.loadSnapshot('i')).revision).toBe(1)
  await crowd.end({ timeout: 0 })
  await admin.end()
}, 60_000)
