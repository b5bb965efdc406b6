import { RedisBackend } from '@sayiir/persistence-redis'
import { expect, inject, test } from 'vitest'
import { Layout } from '../src/layout.ts'
import { atTask } from './workflows.ts'

const { url } = inject('redis')

test('a worker that goes on with claimNext comes to every shard, though its own has work enough', async () => {
  const keyPrefix = `turns-${process.pid}-${Date.now()}:`
  await using backend = await RedisBackend.connect({ url, keyPrefix, shards: 2 })
  const layout = new Layout(keyPrefix, 2)
  const ids = Array.from({ length: 400 }, (_, index) => `i${index}`)
  const [near = [], far = []] = layout.shards.map((shard) =>
    ids.filter((id) => layout.shardOf(id) === shard),
  )
  const [first = '', ...more] = near.slice(0, 100)
  for (const id of [first, ...more]) await backend.saveSnapshot(atTask(id))
  const [other = ''] = far
  await backend.saveSnapshot(atTask(other))

  let claim = await backend.claimTask({
    instanceId: first,
    taskId: 'a',
    workerId: 'w',
    ttlMs: 60_000,
  })
  const came: string[] = []
  // As many as two turns take: one begins in the one shard, the next in the other.
  while (claim !== null && came.length < 40) {
    const { next } = await backend.commitTask({
      claim,
      outcome: {
        kind: 'completed',
        output: new Uint8Array(1),
        next: { finalOutput: new Uint8Array(1) },
      },
      claimNext: { ttlMs: 60_000 },
    })
    claim = next?.claim ?? null
    if (claim !== null) came.push(claim.instanceId)
  }
  expect(came).toContain(other)
  expect(new Set(came).size).toBe(came.length)
  const repeated = await backend.claimAvailableTasks({ workerId: 'w2', limit: 1000, ttlMs: 60_000 })
  expect(repeated).toHaveLength(100 - came.length)
})
