import { RedisBackend } from '@sayiir/persistence-redis'
import { Cluster, Redis } from 'ioredis'
import { expect, inject, test, vi } from 'vitest'
import { nodesOf } from './cluster-process.ts'
import { atTask, claimOne, completed } from './workflows.ts'

// The lowest version of the driver that package.json lets a user have, in the sources too.
vi.mock('ioredis', () => import('ioredis-oldest'))

const { url } = inject('redis')
const { urls } = inject('redis-cluster')
const keyPrefix = 'oldest-driver:'

/** A run from its start to its end: pushed, claimed, committed twice as after a lost reply, read. */
async function runThrough(backend: RedisBackend): Promise<void> {
  const woken = backend.waitForWakeup({ timeoutMs: 60_000 })
  await backend.saveSnapshot(atTask('i'))
  expect(await woken).toMatchObject({ instanceId: 'i' })
  const { claim } = await claimOne(backend)
  await backend.renewTaskClaim(claim, 60_000)
  const commit = { claim, outcome: completed('out', null) }
  const receipt = await backend.commitTask(commit)
  expect(await backend.commitTask(commit)).toEqual(receipt)
  expect((await backend.loadSnapshot('i')).state.status).toBe('completed')
  await backend.deleteSnapshot('i')
}

test('a run on a connection of our own', async () => {
  await using backend = await RedisBackend.connect({ url, keyPrefix })
  await runThrough(backend)
})

test('a run on a client of the user’s', async () => {
  const client = new Redis(url)
  await runThrough(await RedisBackend.fromClient(client, { keyPrefix }))
  client.disconnect()
})

test('a run on a cluster', async () => {
  const client = new Cluster(nodesOf(urls))
  await runThrough(await RedisBackend.fromClient(client, { keyPrefix }))
  client.disconnect()
})

test('a server that is not there is UNAVAILABLE', async () => {
  const connecting = RedisBackend.connect({ url: 'redis://127.0.0.1:1', keyPrefix })
  await expect(connecting).rejects.toMatchObject({ code: 'UNAVAILABLE' })
})
