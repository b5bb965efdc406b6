import { expect, test, vi } from 'vitest'
import { atTask, namespace, open } from './namespace.ts'

test('D5 claims that expire while the call that made them still looks for more are not forgotten', async () => {
  const keyPrefix = namespace()
  const backend = await open({ keyPrefix, shards: 1 })
  const witness = await open({ keyPrefix, shards: 1 })
  const ids = Array.from({ length: 40 }, (_, index) => `i${index}`)
  await Promise.all(ids.map((id) => backend.saveSnapshot(atTask(id))))
  const claiming = backend.claimAvailableTasks({ workerId: 'w', limit: 100, ttlMs: 1 })
  // Its next look finds this one, and those whose claims have expired by then.
  await witness.saveSnapshot(atTask('late'))
  const claimed = new Set((await claiming).map(({ task }) => task.instanceId))
  expect(claimed.size).toBeGreaterThanOrEqual(40)
  const again = new Set<string>()
  await vi.waitFor(
    async () => {
      const found = await backend.claimAvailableTasks({
        ...{ workerId: 'x', limit: 100, ttlMs: 600_000 },
      })
      for (const { task } of found) again.add(task.instanceId)
      expect([...again].toSorted()).toEqual([...ids, 'late'].toSorted())
    },
    { timeout: 60_000, interval: 100 },
  )
})
