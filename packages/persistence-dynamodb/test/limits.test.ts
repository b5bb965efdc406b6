import { createSnapshot } from '@sayiir/persistence-core'
import { expect, test } from 'vitest'
import { atTask, namespace, open } from './namespace.ts'

/** Texts of the greatest size that JSON writes six times as large. */
const HOSTILE = '\u0001'.repeat(64 * 1024)

test('S5 control signals may be as large as they may be', async () => {
  const keyPrefix = namespace()
  const backend = await open({ keyPrefix })
  await backend.saveSnapshot(atTask('i'))
  const request = { reason: HOSTILE, requestedBy: HOSTILE }
  await backend.storeSignal('i', 'pause', request)
  await backend.storeSignal('i', 'cancel', request)
  const other = await open({ keyPrefix })
  expect(await other.getSignal('i', 'pause')).toMatchObject(request)
  expect(await other.getSignal('i', 'cancel')).toMatchObject(request)
  await other.clearSignal('i', 'cancel')
  expect(await other.getSignal('i', 'cancel')).toBeNull()
  expect(await backend.checkAndPause('i')).toBe(true)
  expect((await other.loadSnapshot('i')).state).toMatchObject({
    status: 'paused',
    reason: HOSTILE,
    pausedBy: HOSTILE,
  })
  await backend.deleteSnapshot('i')
})

test('S5 a thousand tasks of the longest names may all be held', async () => {
  const keyPrefix = namespace()
  const backend = await open({ keyPrefix })
  const name = (index: number): string => `${index}`.padStart(4, '0') + 'x'.repeat(252)
  const taskIds = Array.from({ length: 1000 }, (_, index) => name(index))
  await backend.saveSnapshot(
    createSnapshot({
      instanceId: 'i',
      definitionHash: 'd',
      position: {
        kind: 'at-fork',
        forkId: 'f',
        pendingTasks: taskIds.map((taskId) => ({ taskId })),
        join: { taskId: 'j' },
        completedBranches: new Map(),
        wakeAt: null,
      },
    }),
  )
  const workerId = 'w'.repeat(256)
  const claimed = await backend.claimAvailableTasks({ workerId, limit: 1000, ttlMs: 600_000 })
  expect(claimed).toHaveLength(1000)
  const other = await open({ keyPrefix })
  const [first] = claimed
  const { claim } = first ?? expect.fail()
  expect(await other.renewTaskClaim(claim, 600_000)).toMatchObject({ token: claim.token })
  expect((await other.stats()).claimed).toBe(1000)
  await other.deleteSnapshot('i')
})
