import { RedisBackend } from '@sayiir/persistence-redis'
import { type Service, startService } from '@sayiir/services'
import { Cluster } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { nodesOf } from './cluster-process.ts'
import { SlotMover } from './slots.ts'
import { atTask, completed } from './workflows.ts'

let server: Service
let mover: SlotMover

beforeAll(async () => {
  server = await startService('redis-cluster')
  mover = new SlotMover(server.urls, 100)
}, 60_000)

afterAll(async () => {
  mover.disconnect()
  await server.stop()
})

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
  const moving = mover.run()
  await working
  mover.stop()
  await moving
  expect(mover.moved).toBeGreaterThan(0)
  // All at once, where some slots are not where the client believes.
  for (const backend of [borrowed, owned]) {
    const loaded = await Promise.all(ids.map((id) => backend.loadSnapshot(id)))
    for (const { revision, state } of loaded) {
      expect([revision, state.completedTasks.size]).toEqual([11, 10])
    }
  }
  await Promise.all([borrowed.close(), owned.close()])
  client.disconnect()
}, 60_000)
