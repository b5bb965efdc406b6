import { RedisBackend } from '@sayiir/persistence-redis'
import { type Service, startService } from '@sayiir/services'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { nodesOf } from './cluster-process.ts'
import { atTask, completed } from './workflows.ts'

let server: Service
let nodes: Redis[]

beforeAll(async () => {
  server = await startService('redis-cluster')
  nodes = server.urls.map((url) => new Redis(url))
}, 60_000)

afterAll(async () => {
  for (const node of nodes) node.disconnect()
  await server.stop()
})

/** Moves a slot as `redis-cli --cluster reshard` does, some keys at a time. */
async function move(slot: number, from: Redis, to: Redis): Promise<void> {
  const [source, target] = (await Promise.all([from, to].map((node) => node.cluster('MYID')))) as [
    string,
    string,
  ]
  const { host = '', port = 0 } = to.options
  await to.cluster('SETSLOT', slot, 'IMPORTING', source)
  await from.cluster('SETSLOT', slot, 'MIGRATING', target)
  for (;;) {
    const keys = (await from.call('CLUSTER', 'GETKEYSINSLOT', slot, 3)) as string[]
    if (keys.length === 0) break
    await from.call('MIGRATE', host, port, '', 0, 5000, 'KEYS', ...keys)
  }
  await to.cluster('SETSLOT', slot, 'NODE', target)
  for (const node of nodes) await node.cluster('SETSLOT', slot, 'NODE', target)
}

async function slotsOf(keyPrefix: string): Promise<{ slot: number; owner: number }[]> {
  const slots = new Map<number, number>()
  for (const [owner, node] of nodes.entries()) {
    for await (const keys of node.scanStream({ match: `${keyPrefix}*`, count: 1000 })) {
      for (const key of keys as string[]) slots.set(await node.cluster('KEYSLOT', key), owner)
    }
  }
  return Array.from(slots, ([slot, owner]) => ({ slot, owner }))
}

test('work goes on, each step once, while slots are moved between masters', async () => {
  const client = new Cluster(nodesOf(server.urls), {
    keyPrefix: 'moving:',
    enableAutoPipelining: true,
  })
  client.on('error', () => undefined)
  const options = { keyPrefix: 'm:', commandTimeoutMs: 15_000 }
  const borrowed = await RedisBackend.fromClient(client, options)
  const owned = await RedisBackend.connect({
    cluster: { nodes: nodesOf(server.urls), options: { redisOptions: { keyPrefix: 'moving:' } } },
    ...options,
  })
  const ids = Array.from({ length: 60 }, (_, index) => `i${index}`)
  await Promise.all(ids.map((id) => borrowed.saveSnapshot(atTask(id, 's0'))))
  let done = 0
  const work = async (backend: RedisBackend): Promise<void> => {
    while (done < ids.length) {
      const claimed = await backend.claimAvailableTasks({ workerId: 'w', limit: 5, ttlMs: 60_000 })
      if (claimed.length === 0) await backend.waitForWakeup({ timeoutMs: 200 })
      await Promise.all(
        claimed.map(async ({ claim, task }) => {
          const step = Number(task.taskId.slice(1))
          const next = step === 9 ? null : `s${step + 1}`
          const { status } = await backend.commitTask({ claim, outcome: completed('out', next) })
          if (status === 'completed') done += 1
        }),
      )
    }
  }
  const working = Promise.all([work(borrowed), work(owned), work(borrowed)])
  let moved = 0
  while (done < ids.length && moved < 40) {
    for (const { slot, owner } of await slotsOf('moving:')) {
      if (done === ids.length) break
      await move(slot, nodes[owner]!, nodes[(owner + 1) % nodes.length]!)
      moved += 1
    }
  }
  await working
  expect(moved).toBeGreaterThan(0)
  for (const id of ids) {
    const { revision, state } = await owned.loadSnapshot(id)
    expect([revision, state.completedTasks.size]).toEqual([11, 10])
  }
  await Promise.all([borrowed.close(), owned.close()])
  client.disconnect()
}, 60_000)
