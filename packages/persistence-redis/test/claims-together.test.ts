import { RedisBackend } from '@sayiir/persistence-redis'
import { Redis } from 'ioredis'
import { expect, inject, test, vi } from 'vitest'
import { atTask } from './workflows.ts'

const { url } = inject('redis')

test('D5 claims in flight together are one look, and each gets its own, the best first', async () => {
  const keyPrefix = `together-${process.pid}-${Date.now()}:`
  const client = new Redis(url)
  await using backend = await RedisBackend.fromClient(client, { keyPrefix })
  const ids = Array.from({ length: 11 }, (_, index) => `i${10 + index}`)
  for (const id of ids) await backend.saveSnapshot(atTask(id))
  const claim = (workerId: string, limit: number, tags?: string[]) =>
    backend.claimAvailableTasks({ workerId, limit, ttlMs: 60_000, ...(tags && { tags }) })
  const claimed = await Promise.all([
    claim('worker-1', 2),
    claim('worker-1', 1),
    claim('worker-2', 1),
    claim('worker-1', 1),
    claim('worker-1', 1, ['gpu']),
    claim('worker-1', 5),
  ])
  expect(claimed.map((tasks) => tasks.length)).toEqual([2, 1, 1, 1, 1, 5])
  expect(claimed.flat().map(({ claim: { workerId } }) => workerId)).toEqual([
    ...Array(3).fill('worker-1'),
    'worker-2',
    ...Array(7).fill('worker-1'),
  ])
  const taken = claimed.flat().map(({ task }) => task.instanceId)
  expect(taken.toSorted()).toEqual(ids)
  expect(taken.slice(0, 3)).toEqual(ids.slice(0, 3))
  const sent = vi.spyOn(client, 'sendCommand')
  await Promise.all(Array.from({ length: 4 }, () => claim('worker-1', 1)))
  expect(sent).toHaveBeenCalledTimes(1)
  await backend.close()
  client.disconnect()
})
