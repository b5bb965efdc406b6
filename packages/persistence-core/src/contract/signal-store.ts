import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { SignalKind } from '../signal-store.ts'
import type { InstanceStatus, WorkflowSnapshot } from '../snapshot.ts'
import { cancelWorkflow, completeWorkflow, failWorkflow, pauseWorkflow } from '../transitions.ts'
import { bytes, type ContractTest, failure, rule } from './context.ts'
import { atFork, atTask, claim, found, LONG_MS } from './fixtures.ts'
import { CLAIM_NEXT, commit, together } from './steps.ts'

const AT = 1_700_000_000_000

/** An instance of each status. */
const INSTANCES: Readonly<Record<InstanceStatus, (id: string) => WorkflowSnapshot>> = {
  'in-progress': (id) => atTask(id),
  paused: (id) => pauseWorkflow(atTask(id), { reason: 'old', pausedBy: 'old', at: AT }),
  completed: (id) => completeWorkflow(atTask(id), bytes('end')),
  failed: (id) => failWorkflow(atTask(id), 'boom'),
  cancelled: (id) => cancelWorkflow(atTask(id), { reason: 'old', cancelledBy: 'old', at: AT }),
}

const ENDED = ['completed', 'failed', 'cancelled'] as const

async function pending(backend: PersistentBackend, instanceId: string): Promise<SignalKind[]> {
  const both = await Promise.all(
    (['cancel', 'pause'] as const).map((kind) => backend.getSignal(instanceId, kind)),
  )
  return both.flatMap((signal) => (signal === null ? [] : signal.kind))
}

async function statusOf(backend: PersistentBackend, instanceId: string): Promise<InstanceStatus> {
  return (await backend.loadSnapshot(instanceId)).state.status
}

/** Rule G1. */
const hiding: readonly ContractTest[] = [
  rule('G1', 'a pending cancel or pause hides the instance from every claim', async (t) => {
    const backend = await t.open()
    for (const kind of ['cancel', 'pause'] as const) {
      await backend.saveSnapshot(atFork(kind, ['x', 'y', 'z']))
      // A live claim keeps the signal from being applied: it stays pending.
      const held = await claim(backend, kind, 'x')
      await backend.storeSignal(kind, kind)
      expect(await found(backend)).toEqual([])
      expect(
        await backend.claimAvailableTasks({ workerId: 'w', limit: 10, ttlMs: LONG_MS }),
      ).toEqual([])
      expect(
        await backend.claimTask({ instanceId: kind, taskId: 'y', workerId: 'w', ttlMs: LONG_MS }),
      ).toBeNull()
      expect(await backend.waitForWakeup({ timeoutMs: 0 })).toBeNull()
      await backend.saveSnapshot(atTask('other'))
      const other = await claim(backend, 'other')
      const receipt = await commit(backend, other, '', { finalOutput: bytes('') }, CLAIM_NEXT)
      expect(receipt.next).toBeNull()
      expect((await backend.stats()).available).toBe(0)
      expect(await pending(backend, kind)).toEqual([kind])
      expect(await statusOf(backend, kind)).toBe('in-progress')
      // Taken back, it hides nothing.
      await backend.clearSignal(kind, kind)
      expect((await found(backend)).toSorted()).toEqual([`${kind}/y`, `${kind}/z`])
      await backend.renewTaskClaim(held, LONG_MS)
      await backend.deleteSnapshot(kind)
      await backend.deleteSnapshot('other')
    }
  }),

  rule('G1', 'cancel beats pause, in whichever order they came', async (t) => {
    const backend = await t.open()
    for (const kinds of [
      ['cancel', 'pause'],
      ['pause', 'cancel'],
    ] as const) {
      const instanceId = kinds.join('-')
      await backend.saveSnapshot(atTask(instanceId))
      for (const kind of kinds) await backend.storeSignal(instanceId, kind)
      expect(await pending(backend, instanceId)).toEqual(['cancel', 'pause'])
      expect(await backend.checkAndPause(instanceId)).toBe(false)
      expect(await pending(backend, instanceId)).toEqual(['cancel', 'pause'])
      expect(await backend.checkControlSignals(instanceId)).toBe('cancelled')
      expect(await statusOf(backend, instanceId)).toBe('cancelled')
      expect(await pending(backend, instanceId)).toEqual([])
      expect(await backend.checkControlSignals(instanceId)).toBeNull()
    }
  }),
]

/** Rule G2: what each call does in each status. */
const table: readonly ContractTest[] = [
  rule('G2', 'a signal is stored, ignored or refused by the status', async (t) => {
    const backend = await t.open()
    const expected = {
      'in-progress': { cancel: 'stored', pause: 'stored' },
      paused: { cancel: 'stored', pause: 'ignored' },
      completed: { cancel: 'CANNOT_CANCEL', pause: 'CANNOT_PAUSE' },
      failed: { cancel: 'CANNOT_CANCEL', pause: 'CANNOT_PAUSE' },
      cancelled: { cancel: 'ignored', pause: 'CANNOT_PAUSE' },
    } as const satisfies Record<InstanceStatus, Record<SignalKind, string>>
    for (const [status, byKind] of Object.entries(expected)) {
      for (const kind of ['cancel', 'pause'] as const) {
        const instanceId = `${status}-${kind}`
        const before = await backend.saveSnapshot(INSTANCES[status as InstanceStatus](instanceId))
        const storing = backend.storeSignal(instanceId, kind, { reason: 'new' })
        const result = byKind[kind]
        if (result === 'stored' || result === 'ignored') await storing
        else expect((await failure(storing, result)).instanceId).toBe(instanceId)
        expect(await pending(backend, instanceId)).toEqual(result === 'stored' ? [kind] : [])
        expect(await backend.loadSnapshot(instanceId)).toEqual(before)
      }
    }
  }),

  rule('G2', 'an unknown instance has no signals', async (t) => {
    const backend = await t.open()
    for (const kind of ['cancel', 'pause'] as const) {
      const error = await failure(backend.storeSignal('nobody', kind), 'NOT_FOUND')
      expect(error.instanceId).toBe('nobody')
      expect(await backend.getSignal('nobody', kind)).toBeNull()
      await backend.clearSignal('nobody', kind)
    }
    expect(await backend.checkAndCancel('nobody', { interruptedAtTask: 'a' })).toBe(false)
    expect(await backend.checkAndPause('nobody')).toBe(false)
    expect(await backend.checkControlSignals('nobody')).toBeNull()
    await failure(backend.unpause('nobody'), 'NOT_FOUND')
    await failure(backend.loadSnapshot('nobody'), 'NOT_FOUND')
    await backend.saveSnapshot(atTask('nobody'))
    expect(await pending(backend, 'nobody')).toEqual([])
  }),

  rule('G2', 'with nothing pending, checks change nothing in any status', async (t) => {
    const backend = await t.open()
    for (const [status, make] of Object.entries(INSTANCES)) {
      const before = await backend.saveSnapshot(make(status))
      expect(await backend.checkAndCancel(status)).toBe(false)
      expect(await backend.checkAndPause(status)).toBe(false)
      expect(await backend.checkControlSignals(status)).toBeNull()
      expect(await backend.getSignal(status, 'cancel')).toBeNull()
      await backend.clearSignal(status, 'cancel')
      await backend.clearSignal(status, 'pause')
      expect(await backend.loadSnapshot(status)).toEqual(before)
    }
  }),

  rule('G2', 'each check applies its own kind, once', async (t) => {
    const backend = await t.open()
    const checks = {
      cancel: (id: string) => backend.checkAndCancel(id),
      pause: (id: string) => backend.checkAndPause(id),
      control: (id: string) => backend.checkControlSignals(id),
    }
    const expected = [
      ['in-progress', 'cancel', 'cancel', true],
      ['in-progress', 'cancel', 'pause', false],
      ['in-progress', 'cancel', 'control', 'cancelled'],
      ['in-progress', 'pause', 'cancel', false],
      ['in-progress', 'pause', 'pause', true],
      ['in-progress', 'pause', 'control', 'paused'],
      ['paused', 'cancel', 'cancel', true],
      ['paused', 'cancel', 'pause', false],
      ['paused', 'cancel', 'control', 'cancelled'],
    ] as const
    for (const [status, kind, check, result] of expected) {
      const instanceId = `${status}-${kind}-${check}`
      const before = await backend.saveSnapshot(INSTANCES[status](instanceId))
      await backend.storeSignal(instanceId, kind)
      expect(await checks[check](instanceId), instanceId).toBe(result)
      const after = await backend.loadSnapshot(instanceId)
      if (result === false) {
        expect(after).toEqual(before)
        expect(await pending(backend, instanceId)).toEqual([kind])
      } else {
        expect(after.revision).toBe(before.revision + 1)
        expect(after.state.status).toBe(kind === 'cancel' ? 'cancelled' : 'paused')
        expect(await pending(backend, instanceId)).toEqual([])
        expect(await checks[check](instanceId)).toBe(check === 'control' ? null : false)
      }
    }
  }),

  rule('G2', 'who asked, and why, is told before and after', async (t) => {
    const backend = await t.open()
    const created = await backend.saveSnapshot(atTask('i'))
    await backend.storeSignal('i', 'pause', { reason: 'first', requestedBy: 'ann' })
    await backend.storeSignal('i', 'pause', { reason: 'zweitens ü\u{1F600}', requestedBy: 'bob' })
    const paused = await backend.getSignal('i', 'pause')
    expect(paused).toEqual({
      kind: 'pause',
      reason: 'zweitens ü\u{1F600}',
      requestedBy: 'bob',
      requestedAt: expect.any(Number),
    })
    expect(paused?.requestedAt).toBeGreaterThanOrEqual(created.updatedAt)
    await t.elapse(2)
    expect(await backend.getSignal('i', 'pause')).toEqual(paused)
    await backend.checkAndPause('i')
    const first = await backend.loadSnapshot('i')
    expect(first.state).toMatchObject({
      status: 'paused',
      reason: 'zweitens ü\u{1F600}',
      pausedBy: 'bob',
      pausedAt: first.updatedAt,
    })
    expect(first.updatedAt).toBeGreaterThanOrEqual(paused?.requestedAt ?? Infinity)
    await backend.storeSignal('i', 'cancel', { reason: 'why not' })
    expect(await backend.getSignal('i', 'cancel')).toMatchObject({ requestedBy: null })
    expect(await backend.checkAndCancel('i', { interruptedAtTask: 'a' })).toBe(true)
    const last = await backend.loadSnapshot('i')
    expect(last.state).toEqual({
      status: 'cancelled',
      reason: 'why not',
      cancelledBy: null,
      cancelledAt: last.updatedAt,
      interruptedAtTask: 'a',
      completedTasks: new Map(),
    })
  }),

  rule('G2', 'a second signal replaces the first also with nothing', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.storeSignal('i', 'cancel', { reason: 'first', requestedBy: 'ann' })
    await backend.storeSignal('i', 'cancel')
    expect(await backend.getSignal('i', 'cancel')).toMatchObject({
      reason: null,
      requestedBy: null,
    })
    await backend.checkControlSignals('i', { interruptedAtTask: 'a' })
    expect((await backend.loadSnapshot('i')).state).toMatchObject({
      reason: null,
      cancelledBy: null,
      interruptedAtTask: 'a',
    })
  }),

  rule('G2', 'taking one kind back leaves the other', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.storeSignal('i', 'cancel')
    await backend.storeSignal('i', 'pause')
    await backend.clearSignal('i', 'cancel')
    await backend.clearSignal('i', 'cancel')
    expect(await pending(backend, 'i')).toEqual(['pause'])
    expect(await backend.checkControlSignals('i')).toBe('paused')
    expect((await backend.loadSnapshot('i')).revision).toBe(2)
  }),

  rule('G2', 'of racing checks one applies the signal', async (t) => {
    const backends = await t.openMany(4)
    const of = (index: number) => backends[index % backends.length] as PersistentBackend
    for (const kind of ['cancel', 'pause'] as const) {
      await of(0).saveSnapshot(atTask(kind))
      await of(1).storeSignal(kind, kind)
      const applied = await together<string | boolean | null>(12, (index) => {
        if (index % 2 === 0) return of(index).checkControlSignals(kind)
        return kind === 'cancel' ? of(index).checkAndCancel(kind) : of(index).checkAndPause(kind)
      })
      expect(applied.filter((one) => one !== null && one !== false)).toHaveLength(1)
      expect((await of(2).loadSnapshot(kind)).revision).toBe(2)
    }
  }),

  rule('G2', 'an instance that ends drops its signals', async (t) => {
    const backend = await t.open()
    for (const status of ENDED) {
      await backend.saveSnapshot(atTask(status))
      await backend.storeSignal(status, 'pause')
      if (status === 'cancelled') {
        await backend.storeSignal(status, 'cancel')
        await backend.checkAndCancel(status)
      } else {
        await backend.saveSnapshot(INSTANCES[status](status))
      }
      expect(await pending(backend, status)).toEqual([])
      expect(await backend.checkControlSignals(status)).toBeNull()
      expect(await statusOf(backend, status)).toBe(status)
    }
  }),

  rule('G2', 'signals go with their instance', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.storeSignal('i', 'cancel')
    await backend.storeSignal('i', 'pause')
    await backend.deleteSnapshot('i')
    expect(await pending(backend, 'i')).toEqual([])
    await backend.saveSnapshot(atTask('i'))
    expect(await pending(backend, 'i')).toEqual([])
    expect(await found(backend)).toEqual(['i/a'])
  }),

  rule('G2', 'a save that pauses takes the place of a pending pause', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.storeSignal('i', 'pause', { reason: 'asked' })
    await backend.saveSnapshot(pauseWorkflow(atTask('i'), { reason: 'saved', at: AT }))
    expect(await pending(backend, 'i')).toEqual([])
    await backend.unpause('i')
    expect(await found(backend)).toEqual(['i/a'])
  }),
]

/** Rules G1 and G2: requests to stop an instance. */
export const signalStoreTests: readonly ContractTest[] = [...hiding, ...table]
