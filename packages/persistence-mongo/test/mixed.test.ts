import { createSnapshot, type PersistentBackend } from '@sayiir/persistence-core'
import { expect, test } from 'vitest'
import { TestCollections } from './collections.ts'

/** An instance with two tasks at once: one for workers with a GPU, the other for any. */
async function fork(
  backend: PersistentBackend,
  instanceId: string,
  gpuPriority: number,
  anyPriority: number,
): Promise<void> {
  const pendingTasks = [
    { taskId: 'gpu', tags: ['gpu'], priority: gpuPriority },
    { taskId: 'any', priority: anyPriority },
  ]
  const join = { taskId: 'join' }
  const completedBranches = new Map()
  const fork = { kind: 'at-fork', forkId: 'f', pendingTasks, join, wakeAt: null } as const
  const position = { ...fork, completedBranches }
  await backend.saveSnapshot(createSnapshot({ instanceId, definitionHash: 'd', position }))
}

test('D2 of forks the best task that a worker takes comes first, whatever else waits in its instance', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  // What this worker does not take is more urgent in those whose own task is less so.
  for (let index = 0; index < 40; index += 1) await fork(backend, `worse${index}`, 1, 5)
  await fork(backend, 'better', 2, 3)
  const position = { kind: 'at-task', taskId: 'a' } as const
  await backend.saveSnapshot(
    createSnapshot({ instanceId: 'alone', definitionHash: 'd', position, priority: 4 }),
  )
  const worker = { workerId: 'w', limit: 1, ttlMs: 600_000, tags: [] }
  const order: string[] = []
  for (let index = 0; index < 3; index += 1) {
    const [found] = await backend.findAvailableTasks({ workerId: 'w', limit: 1, tags: [] })
    const [claimed] = await backend.claimAvailableTasks(worker)
    expect(claimed?.task.instanceId).toBe(found?.instanceId)
    order.push(claimed?.task.instanceId ?? 'none')
  }
  expect(order).toEqual(['better', 'alone', expect.stringMatching(/^worse/)])
})
