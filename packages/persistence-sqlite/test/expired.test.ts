import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSnapshot } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { expect, test } from 'vitest'

test('more expired claims than one look puts back hide no work (D1)', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sayiir-expired-'))
  const backend = await SqliteBackend.connect({ path: join(folder, 'runs.db') })
  try {
    const save = (instanceId: string, tags: string[]) =>
      backend.saveSnapshot(
        createSnapshot({
          instanceId,
          definitionHash: 'd',
          position: { kind: 'at-task', taskId: 'a' },
          tags,
        }),
      )
    await Promise.all(Array.from({ length: 2100 }, (_, index) => save(`gpu-${index}`, ['gpu'])))
    await save('plain', [])
    for (let claimed = 0; claimed < 2100; claimed += 700) {
      await backend.claimAvailableTasks({
        workerId: 'w',
        limit: 700,
        ttlMs: 1,
        tags: ['gpu'],
        definitionHashes: ['d'],
      })
    }
    // Claimed last, so that its claim is the last to expire.
    const last = await backend.claimTask({
      instanceId: 'plain',
      taskId: 'a',
      workerId: 'w',
      ttlMs: 20,
    })
    await expect.poll(async () => (await backend.stats()).claimed, { timeout: 30_000 }).toBe(0)
    expect(last).not.toBeNull()
    const found = await backend.findAvailableTasks({ workerId: 'w', limit: 10, tags: [] })
    expect(found.map(({ instanceId }) => instanceId)).toEqual(['plain'])
  } finally {
    await backend.close()
    await rm(folder, { recursive: true })
  }
})
