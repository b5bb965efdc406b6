import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { MAX_TIME } from '../check.ts'
import type { EndedStatus, InstanceStatus, WorkflowSnapshot } from '../snapshot.ts'
import {
  cancelWorkflow,
  completeWorkflow,
  failWorkflow,
  pauseWorkflow,
  scheduleRetry,
} from '../transitions.ts'
import { bytes, type ContractTest, collect, failure, rule, text } from './context.ts'
import { expectGone } from './delete.ts'
import { at, atFork, atTask, claim, completed, found, SHORT_MS, toEnd, toTask } from './fixtures.ts'
import { BEHIND_MS, storeTime } from './steps.ts'
import { unchanged } from './stored.ts'

function ended(instanceId: string, status: EndedStatus = 'completed'): WorkflowSnapshot {
  const open = atTask(instanceId)
  switch (status) {
    case 'completed':
      return completeWorkflow(open, bytes('out'))
    case 'failed':
      return failWorkflow(open, 'boom')
    case 'cancelled':
      return cancelWorkflow(open, { at: 1 })
  }
}

async function ids(backend: PersistentBackend): Promise<string[]> {
  return (await collect(backend.listSnapshots())).map(({ instanceId }) => instanceId)
}

/** A time after everything that has been stored. */
async function after(backend: PersistentBackend): Promise<number> {
  const stored = await collect(backend.listSnapshots())
  return Math.max(0, ...stored.map(({ updatedAt }) => updatedAt)) + 1
}

/** Rule M1: pruning, and what a store tells of itself. */
export const maintenanceTests: readonly ContractTest[] = [
  rule('M1', 'prune deletes what ended before a time, not at it', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(ended('first'))
    await t.elapse(5)
    const { updatedAt } = await backend.saveSnapshot(ended('second'))
    await t.elapse(5)
    await backend.saveSnapshot(ended('third'))
    expect(await backend.prune({ endedBefore: updatedAt })).toEqual({ deleted: 1, more: false })
    expect(await ids(backend)).toEqual(['second', 'third'])
    expect(await backend.prune({ endedBefore: updatedAt })).toEqual({ deleted: 0, more: false })
    expect(await backend.prune({ endedBefore: updatedAt + 1 })).toEqual({ deleted: 1, more: false })
    expect(await ids(backend)).toEqual(['third'])
    expect(await backend.prune({ endedBefore: 0 })).toEqual({ deleted: 0, more: false })
  }),

  rule(
    'M1',
    'when an instance ended counts, not when it was created or says that it was changed',
    async (t) => {
      const backend = await t.open()
      const { updatedAt: created } = await backend.saveSnapshot(atTask('i'))
      await t.elapse(10)
      await backend.saveSnapshot({ ...ended('i'), createdAt: 1, updatedAt: 2 })
      expect(await backend.prune({ endedBefore: created + 5 })).toEqual({ deleted: 0, more: false })
      expect(await ids(backend)).toEqual(['i'])
    },
  ),

  rule('M1', 'prune never touches an instance that has not ended', async (t) => {
    const backend = await t.open()
    const open = [
      atTask('task'),
      at('idle', { kind: 'not-started' }),
      at('delay', { kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt: 1, nextTaskId: 'a' }),
      pauseWorkflow(atTask('paused'), { at: 1 }),
    ]
    const stored: WorkflowSnapshot[] = []
    for (const snapshot of open) stored.push(await backend.saveSnapshot(snapshot))
    await backend.saveSnapshot(ended('ended'))
    const endedBefore = await after(backend)
    expect(await backend.prune({ endedBefore: endedBefore + 1e12 })).toEqual({
      deleted: 1,
      more: false,
    })
    for (const snapshot of stored) await unchanged(backend, snapshot)
  }),

  rule('M1', '`limit` bounds a call, `more` says whether to call again', async (t) => {
    const backend = await t.open()
    for (const id of ['a', 'b', 'c', 'd', 'e']) await backend.saveSnapshot(ended(id))
    const endedBefore = await after(backend)
    const left: number[] = []
    for (const more of [true, true, false]) {
      const { deleted, more: told } = await backend.prune({ endedBefore, limit: 2 })
      expect(told).toBe(more)
      expect(deleted).toBe(more ? 2 : 1)
      left.push((await ids(backend)).length)
    }
    expect(left).toEqual([3, 1, 0])
    for (const id of ['a', 'b']) await backend.saveSnapshot(ended(id))
    const again = await after(backend)
    expect(await backend.prune({ endedBefore: again, limit: 2 })).toEqual({
      deleted: 2,
      more: false,
    })
  }),

  rule('M1', '`dryRun` tells what it would delete, and deletes nothing', async (t) => {
    const backend = await t.open()
    for (const id of ['a', 'b', 'c']) await backend.saveSnapshot(ended(id))
    await backend.saveSnapshot(atTask('open'))
    const endedBefore = await after(backend)
    const dryRun = true
    expect(await backend.prune({ endedBefore, dryRun })).toEqual({ deleted: 3, more: false })
    expect(await backend.prune({ endedBefore, dryRun, limit: 2 })).toEqual({
      deleted: 2,
      more: true,
    })
    expect(await backend.prune({ endedBefore, dryRun, statuses: ['failed'] })).toEqual({
      deleted: 0,
      more: false,
    })
    expect(await ids(backend)).toEqual(['a', 'b', 'c', 'open'])
    expect(await backend.prune({ endedBefore, dryRun: false })).toEqual({ deleted: 3, more: false })
    expect(await ids(backend)).toEqual(['open'])
  }),

  rule('M1', '`statuses` limits to those; an empty array matches nothing', async (t) => {
    const backend = await t.open()
    const statuses = ['completed', 'failed', 'cancelled'] as const
    for (const status of statuses) await backend.saveSnapshot(ended(status, status))
    const endedBefore = await after(backend)
    expect(await backend.prune({ endedBefore, statuses: [] })).toEqual({ deleted: 0, more: false })
    expect(await backend.prune({ endedBefore, statuses: ['failed'] })).toEqual({
      deleted: 1,
      more: false,
    })
    expect(await ids(backend)).toEqual(['cancelled', 'completed'])
    expect(await backend.prune({ endedBefore, statuses: ['cancelled', 'completed'] })).toEqual({
      deleted: 2,
      more: false,
    })
    expect(await ids(backend)).toEqual([])
  }),

  rule('M1', 'what prune deletes leaves nothing behind', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', ['a', 'b']))
    const held = await claim(backend, 'i', 'b')
    await backend.sendEvent('i', 'go', bytes('x'), { eventId: 'e' })
    const commit = {
      claim: await claim(backend, 'i', 'a'),
      outcome: { kind: 'failed', error: 'boom' },
    } as const
    await backend.commitTask(commit)
    await backend.saveSnapshot(atTask('i2'))
    const endedBefore = await after(backend)
    expect(await backend.prune({ endedBefore })).toEqual({ deleted: 1, more: false })
    await backend.deleteSnapshot('i2')
    await expectGone(backend, 'i', { commit, held })
  }),

  rule(
    'M1',
    'an abort stops prune with its reason; what is left is whole and goes the next time',
    async (t) => {
      const backend = await t.open()
      const all = Array.from({ length: 250 }, (_, index) => `i-${index}`)
      await Promise.all(all.map((id) => backend.saveSnapshot(ended(id))))
      await backend.saveSnapshot(atTask('open'))
      const endedBefore = await after(backend)
      const reason = new Error('enough')
      await expect(
        backend.prune({ endedBefore }, { signal: AbortSignal.abort(reason) }),
      ).rejects.toBe(reason)
      expect(await ids(backend)).toHaveLength(251)
      const controller = new AbortController()
      const pruning = backend.prune({ endedBefore }, { signal: controller.signal })
      controller.abort(reason)
      await pruning.catch((error: unknown) => expect(error).toBe(reason))
      for (const id of (await ids(backend)).slice(0, 20)) {
        // It may go on with the batch that it was at.
        const loaded = await backend.loadSnapshot(id).catch(() => null)
        expect(['completed', 'in-progress', undefined]).toContain(loaded?.state.status)
      }
      await backend.prune({ endedBefore })
      expect(await ids(backend)).toEqual(['open'])
    },
  ),

  rule('M1', 'a prune that is aborted goes on for a batch at most', async (t) => {
    const backend = await t.open()
    const all = Array.from({ length: 600 }, (_, index) => `i-${index}`)
    for (let from = 0; from < all.length; from += 100)
      await Promise.all(all.slice(from, from + 100).map((id) => backend.saveSnapshot(ended(id))))
    const endedBefore = await after(backend)
    const reason = new Error('enough')
    const controller = new AbortController()
    const pruning = backend.prune({ endedBefore }, { signal: controller.signal })
    controller.abort(reason)
    const outcome = await pruning.catch((error: unknown) => error)
    // A store in the process's own memory may have been done before.
    if (outcome !== reason) return expect(outcome).toEqual({ deleted: 600, more: false })
    let left = all.length
    for (let seen = -1; left !== seen; ) {
      seen = left
      await sleep(20)
      left = (await ids(backend)).length
    }
    expect(left, 'it deleted everything').toBeGreaterThan(0)
  }),

  rule('M1', 'stats say what a listing, a find and the claims say', async (t) => {
    const backend = await t.open()
    const nobody: Record<InstanceStatus, number> = {
      'in-progress': 0,
      paused: 0,
      completed: 0,
      failed: 0,
      cancelled: 0,
    }
    const empty = { byStatus: nobody, available: 0, claimed: 0, oldestAvailableAgeMs: null }
    expect(await backend.stats()).toEqual(empty)

    await backend.saveSnapshot(atTask('claimed'))
    const held = await claim(backend, 'claimed')
    await backend.saveSnapshot(atTask('stopping'))
    await claim(backend, 'stopping')
    await backend.storeSignal('stopping', 'pause')
    await backend.saveSnapshot(pauseWorkflow(atTask('paused'), { at: 1 }))
    await backend.saveSnapshot(at('idle', { kind: 'not-started' }))
    for (const status of ['completed', 'failed', 'failed', 'cancelled'] as const) {
      await backend.saveSnapshot(ended(`${status}-${Math.random()}`, status))
    }
    await backend.saveSnapshot(
      at('later', {
        kind: 'at-delay',
        delayId: 'd',
        enteredAt: 0,
        wakeAt: MAX_TIME,
        nextTaskId: 'a',
      }),
    )
    const none = await backend.stats()
    expect(none).toEqual({
      byStatus: { 'in-progress': 4, paused: 1, completed: 1, failed: 2, cancelled: 1 },
      available: 0,
      claimed: 2,
      oldestAvailableAgeMs: null,
    })
    await backend.saveSnapshot(atTask('expiring'))
    await claim(backend, 'expiring', 'a', { ttlMs: SHORT_MS })
    await t.elapse(SHORT_MS)
    await backend.saveSnapshot(atFork('fork', ['a', 'b', { taskId: 'c', availableAt: MAX_TIME }]))
    await backend.saveSnapshot(
      at('due', { kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt: 1, nextTaskId: 'a' }),
    )
    await backend.saveSnapshot(atTask('served by few', 'a', { tags: ['gpu'] }))
    const stats = await backend.stats()
    expect(stats).toMatchObject({ available: 5, claimed: 2 })
    expect(stats.oldestAvailableAgeMs).toBeGreaterThanOrEqual(SHORT_MS)
    expect(await found(backend)).toHaveLength(5)
    expect(await backend.stats()).toMatchObject({ available: 5, claimed: 2 })

    // A pause leaves a live claim as it is.
    await backend.storeSignal('claimed', 'pause')
    expect(await backend.checkAndPause('claimed')).toBe(true)
    expect(await backend.stats()).toMatchObject({ available: 5, claimed: 2 })
    await backend.releaseTaskClaim(held)
    expect(await backend.stats()).toMatchObject({ available: 5, claimed: 1 })
  }),

  rule('M1', 'stats leave out a task that was put off, also once its claim expired', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await claim(backend, 'i', 'a', { ttlMs: SHORT_MS })
    const retryAt = MAX_TIME
    await backend.saveSnapshot(
      scheduleRetry(await backend.loadSnapshot('i'), 'a', { error: 'e', workerId: null, retryAt }),
    )
    await t.elapse(SHORT_MS)
    const none = { available: 0, claimed: 0, oldestAvailableAgeMs: null }
    expect(await backend.stats()).toMatchObject(none)
    expect(await found(backend)).toEqual([])
    expect(await backend.stats()).toMatchObject(none)
  }),

  rule('M1', 'the age of the oldest available task grows with the store’s clock', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('first'))
    await t.elapse(30)
    await backend.saveSnapshot(atTask('second'))
    const age = async (): Promise<number> => (await backend.stats()).oldestAvailableAgeMs ?? -1
    expect(await age()).toBeGreaterThanOrEqual(30)
    await t.elapse(30)
    const older = await age()
    expect(older).toBeGreaterThanOrEqual(60)
    const held = await claim(backend, 'first')
    const younger = await age()
    expect(younger).toBeGreaterThanOrEqual(30)
    await backend.commitTask({ claim: held, outcome: completed('out', toEnd('end')) })
    await claim(backend, 'second')
    expect((await backend.stats()).oldestAvailableAgeMs).toBeNull()
  }),

  rule('M1', 'the age counts from when a task became available, not its instance', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    await t.elapse(BEHIND_MS + 50)
    await backend.commitTask({ claim: held, outcome: completed('out', toTask('b')) })
    const [task] = await backend.findAvailableTasks({ workerId: 'w', limit: 1 })
    const age = (await backend.stats()).oldestAvailableAgeMs ?? MAX_TIME
    const waited = (await storeTime(backend)) - (task?.availableSince ?? 0)
    expect(age).toBeLessThanOrEqual(waited + BEHIND_MS)
  }),

  rule('M1', 'a healthy store says so', async (t) => {
    const backend = await t.open()
    expect(await backend.checkHealth()).toBeUndefined()
    await backend.saveSnapshot(atTask('i'))
    await backend.checkHealth({ signal: new AbortController().signal })
    expect(text((await backend.loadSnapshot('i')).initialInput)).toBe('in')
    await backend.close()
    await failure(backend.checkHealth(), 'CLOSED')
  }),
]
