import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { Position } from '../position.ts'
import type { SignalKind } from '../signal-store.ts'
import { bytes, type ContractTest, failure, rule, text } from './context.ts'
import { at, atFork, atTask, claim, found, LONG_MS, SHORT_MS, toEnd, toTask } from './fixtures.ts'
import {
  CLAIM_NEXT,
  commit,
  placeOf,
  positionIn,
  run,
  storeTime,
  tasksOf,
  toBranch,
} from './steps.ts'

async function pause(backend: PersistentBackend, instanceId: string): Promise<void> {
  await backend.storeSignal(instanceId, 'pause')
  expect(await backend.checkAndPause(instanceId)).toBe(true)
}

async function statusOf(backend: PersistentBackend, instanceId: string): Promise<string> {
  return (await backend.loadSnapshot(instanceId)).state.status
}

const STOPPED = { cancel: 'cancelled', pause: 'paused' } as const
const KINDS: readonly SignalKind[] = ['cancel', 'pause']

/** Rule G3. */
const unpausing: readonly ContractTest[] = [
  rule('G3', 'unpause returns the instance to exactly the position it had', async (t) => {
    const backend = await t.open()
    const wakeAt = (await storeTime(backend)) + LONG_MS
    const completedBranches = new Map([['left', { taskId: 'l', output: bytes('L') }]])
    const positions: readonly Position[] = [
      { kind: 'not-started' },
      { kind: 'at-task', taskId: 'a' },
      { kind: 'at-delay', delayId: 'd', enteredAt: 5, wakeAt, nextTaskId: 'a' },
      { kind: 'at-delay', delayId: 'd', enteredAt: 5, wakeAt: 6, nextTaskId: null },
      { kind: 'at-signal', signalId: 's', signalName: 'go', wakeAt: null, nextTaskId: 'a' },
      { kind: 'at-signal', signalId: 's', signalName: 'go', wakeAt: 7, nextTaskId: null },
      {
        kind: 'at-fork',
        forkId: 'f',
        pendingTasks: [
          { taskId: 'x', branch: 'right', priority: 1, tags: ['gpu'], availableAt: wakeAt },
          { taskId: 'y', inputTaskId: 'l' },
        ],
        join: { taskId: 'j', priority: 2, tags: ['eu'] },
        completedBranches,
        wakeAt: 9,
      },
      { kind: 'at-join', joinId: 'j', completedBranches },
      { kind: 'in-loop', loopId: 'loop', iteration: 3, nextTaskId: 'a' },
    ]
    for (const [index, position] of positions.entries()) {
      const id = `i-${index}`
      const snapshot = at(id, position, { priority: 4, tags: ['arm'], traceParent: 'trace' })
      const before = await backend.saveSnapshot({
        ...snapshot,
        state: {
          ...snapshot.state,
          status: 'in-progress',
          position,
          completedTasks: new Map(
            ['z', 'b'].map((one) => [one, { taskId: one, output: bytes(one) }]),
          ),
          lastCompletedTaskId: 'b',
        },
        loopIterations: new Map([['loop', 3]]),
      })
      await pause(backend, id)
      const paused = await backend.loadSnapshot(id)
      expect(placeOf(paused)).toEqual(position)
      const resumed = await backend.unpause(id)
      expect(resumed).toEqual({ ...before, revision: 3, updatedAt: resumed.updatedAt })
      expect(await backend.loadSnapshot(id)).toEqual(resumed)
      expect([...resumed.state.completedTasks.keys()]).toEqual(['z', 'b'])
    }
  }),

  rule('G3', 'what is not paused can not be unpaused', async (t) => {
    const backend = await t.open()
    for (const instanceId of ['in-progress', 'completed', 'failed', 'cancelled']) {
      await backend.saveSnapshot(atTask(instanceId))
    }
    await backend.storeSignal('in-progress', 'pause')
    await run(backend, 'completed', 'a', '', toEnd(''))
    const outcome = { kind: 'failed', error: 'boom' } as const
    await backend.commitTask({ claim: await claim(backend, 'failed'), outcome })
    await backend.storeSignal('cancelled', 'cancel')
    await backend.checkAndCancel('cancelled')
    for (const instanceId of ['in-progress', 'completed', 'failed', 'cancelled']) {
      const before = await backend.loadSnapshot(instanceId)
      const error = await failure(backend.unpause(instanceId), 'CANNOT_PAUSE')
      expect(error.instanceId).toBe(instanceId)
      expect(await backend.loadSnapshot(instanceId)).toEqual(before)
    }
    expect(await backend.getSignal('in-progress', 'pause')).not.toBeNull()
  }),

  rule('G3', 'claims live through a pause', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', ['x', 'y']))
    const held = await claim(backend, 'i', 'x')
    await pause(backend, 'i')
    expect(await found(backend)).toEqual([])
    expect((await backend.stats()).claimed).toBe(1)
    expect(await backend.renewTaskClaim(held, LONG_MS)).toMatchObject({ token: held.token })
    await backend.unpause('i')
    expect(await found(backend)).toEqual(['i/y'])
    expect(
      await backend.claimTask({ instanceId: 'i', taskId: 'x', workerId: 'w2', ttlMs: 5 }),
    ).toBeNull()
    expect(await commit(backend, held, 'X', toBranch(null))).toMatchObject({ revision: 4 })
  }),

  rule('G3', 'after an unpause waiting counts from then', async (t) => {
    const backend = await t.open()
    const wakeAt = (await storeTime(backend)) + LONG_MS
    await backend.saveSnapshot(atFork('i', ['x', 'y', { taskId: 'z', availableAt: wakeAt }]))
    await backend.releaseTaskClaim(await claim(backend, 'i', 'x'))
    await pause(backend, 'i')
    await t.elapse(5)
    const { updatedAt: availableSince } = await backend.unpause('i')
    const tasks = await tasksOf(backend, 'i')
    expect([...tasks.values()]).toMatchObject([
      { taskId: 'x', availableSince, deliveries: 1 },
      { taskId: 'y', availableSince, deliveries: 0 },
    ])
    expect(await positionIn(backend, 'i')).toMatchObject({
      pendingTasks: [{ taskId: 'x' }, { taskId: 'y' }, { taskId: 'z', availableAt: wakeAt }],
    })
  }),

  rule(
    'G3',
    'a commit on a paused instance moves the position that unpause returns to',
    async (t) => {
      const backend = await t.open()
      await backend.saveSnapshot(atTask('i'))
      await backend.saveSnapshot(atTask('other'))
      const held = await claim(backend, 'i')
      await pause(backend, 'i')
      const receipt = await commit(backend, held, 'from a', toTask('b'), CLAIM_NEXT)
      expect(receipt).toEqual({ revision: 3, status: 'paused', next: null })
      expect(await found(backend)).toEqual(['other/a'])
      expect(placeOf(await backend.unpause('i'))).toEqual({ kind: 'at-task', taskId: 'b' })
      expect(text((await tasksOf(backend, 'i')).get('b')?.input)).toBe('from a')
    },
  ),

  rule('G3', 'a commit that ends a paused instance ends it', async (t) => {
    const backend = await t.open()
    for (const instanceId of ['completed', 'failed', 'retried']) {
      await backend.saveSnapshot(atTask(instanceId))
      const held = await claim(backend, instanceId)
      await pause(backend, instanceId)
      const outcome = {
        completed: { kind: 'completed', output: bytes(''), next: toEnd('end') },
        failed: { kind: 'failed', error: 'boom' },
        retried: { kind: 'retry', error: 'boom', delayMs: 0 },
      } as const
      const { status } = await backend.commitTask({
        claim: held,
        outcome: outcome[instanceId as keyof typeof outcome],
      })
      expect(status).toBe(instanceId === 'retried' ? 'paused' : instanceId)
    }
    await backend.unpause('retried')
    expect((await tasksOf(backend, 'retried')).get('a')).toMatchObject({ attempt: 2 })
  }),
]

/** Rule G4. */
const applying: readonly ContractTest[] = [
  rule('G4', 'a commit applies a pending signal after its outcome', async (t) => {
    const backend = await t.open()
    for (const kind of KINDS) {
      await backend.saveSnapshot(atTask(kind))
      const held = await claim(backend, kind)
      await backend.storeSignal(kind, kind, { reason: 'why', requestedBy: 'ann' })
      await backend.saveSnapshot(atTask(`other-${kind}`))
      const receipt = await commit(backend, held, 'from a', toTask('b'), CLAIM_NEXT)
      expect(receipt).toMatchObject({ revision: 2, status: STOPPED[kind] })
      expect(receipt.next?.task).toMatchObject({ instanceId: `other-${kind}`, taskId: 'a' })
      const { state } = await backend.loadSnapshot(kind)
      expect(text(state.completedTasks.get('a')?.output)).toBe('from a')
      expect(state).toMatchObject(
        kind === 'cancel'
          ? { status: 'cancelled', reason: 'why', cancelledBy: 'ann', interruptedAtTask: null }
          : { status: 'paused', reason: 'why', pausedBy: 'ann', position: { taskId: 'b' } },
      )
      expect(await backend.getSignal(kind, kind)).toBeNull()
    }
  }),

  rule('G4', 'a commit that ends the instance leaves nothing to a signal', async (t) => {
    const backend = await t.open()
    for (const kind of KINDS) {
      await backend.saveSnapshot(atTask(kind))
      const held = await claim(backend, kind)
      await backend.storeSignal(kind, kind)
      expect(await commit(backend, held, 'from a', toEnd('end'))).toMatchObject({
        revision: 2,
        status: 'completed',
      })
      expect(await backend.getSignal(kind, kind)).toBeNull()
    }
    await backend.saveSnapshot(atTask('retry'))
    const held = await claim(backend, 'retry')
    await backend.storeSignal('retry', 'pause')
    const outcome = { kind: 'retry', error: 'boom', delayMs: 0 } as const
    expect((await backend.commitTask({ claim: held, outcome })).status).toBe('paused')
    await backend.unpause('retry')
    expect((await tasksOf(backend, 'retry')).get('a')).toMatchObject({ attempt: 2 })
  }),

  rule(
    'G4',
    'every dispatch call applies the signal of an instance that nobody works on',
    async (t) => {
      const backend = await t.open()
      // Whoever calls: also a worker that would not have taken the task.
      const filter = { workerId: 'w', limit: 10, definitionHashes: ['another'] }
      const dispatch = {
        find: () => backend.findAvailableTasks(filter),
        claim: () => backend.claimAvailableTasks({ ...filter, ttlMs: LONG_MS }),
        wait: () => backend.waitForWakeup({ timeoutMs: 0, definitionHashes: ['another'] }),
        next: async () => {
          await backend.saveSnapshot(atTask('committed'))
          const held = await claim(backend, 'committed')
          await commit(backend, held, '', toEnd(''), {
            ttlMs: LONG_MS,
            definitionHashes: ['another'],
          })
          await backend.deleteSnapshot('committed')
        },
      }
      for (const [call, make] of Object.entries(dispatch)) {
        for (const kind of KINDS) {
          const id = `${call}-${kind}`
          await backend.saveSnapshot(atTask(id))
          await backend.storeSignal(id, kind, { reason: 'why', requestedBy: 'ann' })
          await make()
          const snapshot = await backend.loadSnapshot(id)
          expect([id, snapshot.state.status, snapshot.revision]).toEqual([id, STOPPED[kind], 2])
          expect(snapshot.state).toMatchObject({ reason: 'why' })
          expect(await backend.getSignal(id, kind)).toBeNull()
        }
      }
    },
  ),

  rule('G4', 'also where no task can run, and where the instance is paused', async (t) => {
    const backend = await t.open()
    const wakeAt = (await storeTime(backend)) + LONG_MS
    const positions: readonly Position[] = [
      { kind: 'not-started' },
      { kind: 'at-delay', delayId: 'd', enteredAt: 5, wakeAt, nextTaskId: 'a' },
      { kind: 'at-signal', signalId: 's', signalName: 'go', wakeAt: null, nextTaskId: 'a' },
    ]
    for (const [index, position] of positions.entries()) {
      for (const kind of KINDS) {
        await backend.saveSnapshot(at(`${kind}-${index}`, position))
        await backend.storeSignal(`${kind}-${index}`, kind)
      }
    }
    await backend.saveSnapshot(atTask('was-paused'))
    await pause(backend, 'was-paused')
    await backend.storeSignal('was-paused', 'cancel')
    await found(backend)
    expect(await statusOf(backend, 'was-paused')).toBe('cancelled')
    for (const index of positions.keys()) {
      expect(await statusOf(backend, `cancel-${index}`)).toBe('cancelled')
      expect(await statusOf(backend, `pause-${index}`)).toBe('paused')
    }
  }),

  rule('G4', 'dispatch leaves a signal to the worker whose claim is live', async (t) => {
    const backend = await t.open()
    for (const kind of KINDS) {
      await backend.saveSnapshot(atFork(kind, ['x', 'y']))
      const held = await claim(backend, kind, 'x')
      await backend.storeSignal(kind, kind)
      await found(backend)
      await backend.claimAvailableTasks({ workerId: 'w', limit: 10, ttlMs: LONG_MS })
      expect(await statusOf(backend, kind)).toBe('in-progress')
      expect(await backend.getSignal(kind, kind)).toMatchObject({ kind })
      // Given up, the next call applies it.
      await backend.releaseTaskClaim(held)
      await found(backend)
      expect(await statusOf(backend, kind)).toBe(STOPPED[kind])
    }
    await backend.saveSnapshot(atTask('late'))
    const held = await claim(backend, 'late')
    await pause(backend, 'late')
    await backend.storeSignal('late', 'cancel')
    await found(backend)
    expect(await statusOf(backend, 'late')).toBe('paused')
    expect(await commit(backend, held, 'from a', toTask('b'))).toMatchObject({
      status: 'cancelled',
    })
  }),

  rule('G4', 'dispatch applies a signal once the last claim has expired', async (t) => {
    const backend = await t.open()
    for (const kind of KINDS) {
      await backend.saveSnapshot(atTask(kind))
      const held = await claim(backend, kind, 'a', { ttlMs: SHORT_MS })
      await backend.storeSignal(kind, kind)
      await t.elapse(SHORT_MS)
      expect(await found(backend)).toEqual([])
      expect(await statusOf(backend, kind)).toBe(STOPPED[kind])
      if (kind === 'cancel') await failure(commit(backend, held, '', toTask('b')), 'TERMINAL')
      else expect(await commit(backend, held, '', toTask('b'))).toMatchObject({ status: 'paused' })
    }
  }),

  rule('G4', 'however many signals are pending, all are applied', async (t) => {
    const backend = await t.open()
    const ids = Array.from({ length: 130 }, (_, index) => `i-${index}`)
    for (const id of ids) {
      await backend.saveSnapshot(atTask(id))
      await backend.storeSignal(id, 'cancel')
    }
    // A call applies a bounded number, but always some.
    for (let calls = 0; calls < ids.length; calls += 1) {
      expect(await found(backend)).toEqual([])
      const { byStatus } = await backend.stats()
      if (byStatus.cancelled === ids.length) return
    }
    expect.fail('signals stayed pending')
  }),
]

/** Rules G3 and G4: how requests to stop take effect, and how an instance goes on. */
export const signalApplyTests: readonly ContractTest[] = [...unpausing, ...applying]
