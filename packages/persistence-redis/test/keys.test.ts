import { RedisBackend } from '@sayiir/persistence-redis'
import { Redis } from 'ioredis'
import { expect, inject, test } from 'vitest'
import { keysOf, observer } from './keys.ts'
import { dropUser, makeUser, withUser } from './least-privileges.ts'
import { atTask, bytes, claimOne, completed, failureOf } from './workflows.ts'

const { url } = inject('redis')
let prefixes = 0

function freshPrefix(): string {
  prefixes += 1
  return `keys-${process.pid}-${Date.now()}-${prefixes}:`
}

test('S8 of what was deleted and pruned no key and no field stays', async () => {
  const keyPrefix = freshPrefix()
  const backend = await RedisBackend.connect({ url, keyPrefix })
  for (const id of ['done', 'deleted']) {
    await backend.saveSnapshot(atTask(id))
    await backend.sendEvent(id, 'go', bytes('x'), { eventId: 'e' })
    for (let step = 0; step < 3; step += 1) {
      const { claim } = await claimOne(backend)
      await backend.commitTask({ claim, outcome: completed('x'.repeat(5000), `s${step}`) })
    }
    const { claim } = await claimOne(backend)
    await backend.commitTask({ claim, outcome: { kind: 'retry', error: 'e', delayMs: 0 } })
    const again = await claimOne(backend, 'worker-2')
    if (id === 'done')
      await backend.commitTask({ claim: again.claim, outcome: completed('o', null) })
    else await backend.storeSignal(id, 'pause')
  }
  await backend.deleteSnapshot('deleted')
  expect(await backend.prune({ endedBefore: Date.now() + 60_000 })).toMatchObject({ deleted: 1 })
  await backend.close()
  expect(await keysOf(url, keyPrefix)).toEqual([`${keyPrefix}format`, `${keyPrefix}{0}:meta`])
  expect(await observer(url).hkeys(`${keyPrefix}{0}:meta`)).toEqual(['token'])
})

test('scripts come back after SCRIPT FLUSH', async () => {
  const backend = await RedisBackend.connect({ url, keyPrefix: freshPrefix() })
  for (let round = 0; round < 3; round += 1) {
    await observer(url).script('FLUSH')
    await Promise.all([
      backend.saveSnapshot(atTask(`a${round}`)),
      backend.saveSnapshot(atTask(`b${round}`)),
      backend.loadSnapshot('nobody').catch(() => undefined),
    ])
  }
  expect((await backend.stats()).available).toBe(6)
  await backend.close()
})

test('a client’s own keyPrefix and auto-pipelining change nothing', async () => {
  const theirs = freshPrefix()
  const client = new Redis(url, { keyPrefix: theirs, enableAutoPipelining: true })
  const backend = await RedisBackend.fromClient(client, { keyPrefix: 'ours:' })
  const waiting = backend.waitForWakeup({ timeoutMs: 20_000 })
  await backend.checkHealth()
  await Promise.all(['i', 'j', 'k'].map((id) => backend.saveSnapshot(atTask(id))))
  expect(await waiting).toMatchObject({ taskId: 'a' })
  const claimed = await backend.claimAvailableTasks({ workerId: 'w', limit: 5, ttlMs: 1000 })
  await Promise.all(
    claimed.map(({ claim }) => backend.commitTask({ claim, outcome: completed('o', null) })),
  )
  expect((await backend.stats()).byStatus.completed).toBe(3)
  const keys = await keysOf(url, theirs)
  expect(keys.length).toBeGreaterThan(0)
  expect(keys.every((key) => key.startsWith(`${theirs}ours:`))).toBe(true)
  await backend.close()
  expect(await client.ping()).toBe('PONG')
  client.disconnect()
})

test('M4 a newer format, another number of shards and a missing set-up are refused, untouched', async () => {
  const keyPrefix = freshPrefix()
  expect(await failureOf(RedisBackend.connect({ url, keyPrefix, migrate: false }))).toMatchObject({
    code: 'SCHEMA',
  })
  expect(await keysOf(url, keyPrefix)).toEqual([])
  await (await RedisBackend.connect({ url, keyPrefix, shards: 2 })).close()
  expect(await failureOf(RedisBackend.connect({ url, keyPrefix, shards: 3 }))).toMatchObject({
    code: 'SCHEMA',
  })
  const kept = await RedisBackend.connect({ url, keyPrefix, migrate: false })
  expect(kept.capabilities.order).toBe('shard')
  await observer(url).hset(`${keyPrefix}format`, 'format', 2)
  expect(await failureOf(RedisBackend.connect({ url, keyPrefix }))).toMatchObject({
    code: 'SCHEMA',
  })
  expect(await failureOf(kept.checkHealth())).toMatchObject({ code: 'SCHEMA' })
  await kept.close()
})

test('M5 a user with the permissions of the README can do everything, and not reach other keys', async () => {
  const keyPrefix = freshPrefix()
  const user = await makeUser([url], `${keyPrefix}*`)
  const theirs = withUser(url, user)
  const backend = await RedisBackend.connect({ url: theirs, keyPrefix })
  const waiting = backend.waitForWakeup({ timeoutMs: 20_000 })
  await backend.saveSnapshot(atTask('i'))
  expect(await waiting).toMatchObject({ instanceId: 'i' })
  await backend.sendEvent('i', 'go', bytes('x'), { eventId: 'e' })
  expect(await backend.consumeEvent('i', 'go')).toEqual(bytes('x'))
  const { claim } = await claimOne(backend)
  await backend.renewTaskClaim(claim, 1000)
  await backend.commitTask({ claim, outcome: completed('out', 'b') })
  const second = await claimOne(backend)
  await backend.releaseTaskClaim(second.claim)
  for await (const { instanceId } of backend.listSnapshots()) expect(instanceId).toBe('i')
  expect(await backend.loadTaskResult('i', 'a')).toEqual(bytes('out'))
  await backend.stats()
  const third = await claimOne(backend)
  await backend.commitTask({ claim: third.claim, outcome: completed('out', null) })
  expect(await backend.prune({ endedBefore: Date.now() + 60_000 })).toMatchObject({ deleted: 1 })
  await backend.close()
  expect(
    await failureOf(RedisBackend.connect({ url: theirs, keyPrefix: 'others:' })),
  ).toMatchObject({ code: 'BACKEND' })
  await dropUser([url], user)
})
