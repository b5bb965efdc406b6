import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { Position } from '../position.ts'
import { completeTask, completeWorkflow, failWorkflow } from '../transitions.ts'
import { bytes, type ContractContext, type ContractTest, failure, rule } from './context.ts'
import {
  at,
  atFork,
  atTask,
  claim,
  found,
  LONG_MS,
  SHORT_MS,
  toEnd,
  toTask,
  WORKER,
} from './fixtures.ts'
import { BEHIND_MS, run, storeTime } from './steps.ts'
import { unchanged } from './stored.ts'

/** By how much two readings of the store's clock may disagree. */
function slackMs({ capabilities }: ContractContext): number {
  return capabilities.clock === 'store' ? 0 : capabilities.clock.maxErrorMs
}

/** Rule C5. */
const renewing: readonly ContractTest[] = [
  rule('C5', 'extending moves the end later by exactly that, counted from the end', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    const saved = await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    const expiresAt = held.expiresAt as number
    await t.elapse(5)
    expect(await other.extendTaskClaim(held, 1000)).toEqual({
      ...held,
      expiresAt: expiresAt + 1000,
    })
    // What counts is what is stored, not what the caller has.
    expect(await backend.extendTaskClaim(held, 0.5)).toEqual({
      ...held,
      expiresAt: expiresAt + 1001,
    })
    await unchanged(backend, saved)
  }),

  rule('C5', 'extending an expired claim counts from now', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i', 'a', { ttlMs: 1 })
    await t.elapse(SHORT_MS)
    const before = await storeTime(backend)
    const extended = await backend.extendTaskClaim(held, LONG_MS)
    const after = await storeTime(backend)
    expect(extended).toEqual({ ...held, expiresAt: extended.expiresAt })
    expect(extended.expiresAt).toBeGreaterThanOrEqual(before + LONG_MS - slackMs(t))
    expect(extended.expiresAt).toBeLessThanOrEqual(after + LONG_MS + slackMs(t) + BEHIND_MS)
    expect(await found(backend)).toEqual([])
  }),

  rule(
    'C5',
    'renewing counts from now, also where that is sooner or the end has passed',
    async (t) => {
      const backend = await t.open()
      for (const ttlMs of [LONG_MS, 50_000, 1]) {
        const instanceId = `i${ttlMs}`
        await backend.saveSnapshot(atTask(instanceId))
        const held = await claim(backend, instanceId, 'a', { ttlMs })
        await t.elapse(5)
        const before = await storeTime(backend)
        const renewed = await backend.renewTaskClaim(held, 99_999.5)
        const after = await storeTime(backend)
        expect(renewed).toEqual({ ...held, expiresAt: renewed.expiresAt })
        expect(renewed.expiresAt).toBeGreaterThanOrEqual(before + 100_000 - slackMs(t))
        expect(renewed.expiresAt).toBeLessThanOrEqual(after + 100_000 + slackMs(t) + BEHIND_MS)
      }
      expect(await found(backend)).toEqual([])
    },
  ),

  rule('C5', 'a renewed claim lives on, and one renewed for less ends sooner', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    await backend.saveSnapshot(atTask('renewed'))
    await backend.saveSnapshot(atTask('shortened'))
    const renewed = await claim(backend, 'renewed', 'a', { ttlMs: SHORT_MS })
    const shortened = await claim(backend, 'shortened')
    await backend.renewTaskClaim(renewed, LONG_MS)
    await backend.renewTaskClaim(shortened, SHORT_MS)
    await t.elapse(SHORT_MS)
    expect(await found(other)).toEqual(['shortened/a'])
    const taken = await claim(other, 'shortened', 'a', { workerId: 'w2' })
    expect(taken.token).toBeGreaterThan(shortened.token)
    expect(
      await other.claimTask({ instanceId: 'renewed', taskId: 'a', workerId: 'w2', ttlMs: 1 }),
    ).toBeNull()
  }),

  rule('C5', 'a claim that never expires stays so', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i', 'a', { ttlMs: null })
    expect(await backend.extendTaskClaim(held, 1)).toEqual(held)
    expect(await backend.renewTaskClaim(held, 1)).toEqual(held)
    await t.elapse(SHORT_MS)
    expect(await found(backend)).toEqual([])
    expect(
      await backend.claimTask({ instanceId: 'i', taskId: 'a', workerId: 'w2', ttlMs: 1 }),
    ).toBeNull()
  }),

  rule('C5', 'on an unknown instance both are NOT_FOUND', async (t) => {
    const backend = await t.open()
    const ref = { instanceId: 'i', taskId: 'a', workerId: WORKER, token: 1 }
    await failure(backend.renewTaskClaim(ref, LONG_MS), 'NOT_FOUND')
    await failure(backend.extendTaskClaim(ref, LONG_MS), 'NOT_FOUND')
  }),
]

/** Proves that a task can not be claimed, not even by asking again, and that asking changes nothing. */
async function isRefused(
  backend: PersistentBackend,
  instanceId: string,
  taskId = 'a',
): Promise<void> {
  const before = await backend.loadSnapshot(instanceId)
  for (const ttlMs of [LONG_MS, null]) {
    expect(
      await backend.claimTask({ instanceId, taskId, workerId: WORKER, ttlMs }),
      `${taskId} of ${instanceId}`,
    ).toBeNull()
  }
  await unchanged(backend, before)
}

/** Rule C6. */
const refusing: readonly ContractTest[] = [
  rule('C6', 'claiming on an unknown instance is NOT_FOUND', async (t) => {
    const backend = await t.open()
    const params = { instanceId: 'i', taskId: 'a', workerId: WORKER, ttlMs: LONG_MS }
    await failure(backend.claimTask(params), 'NOT_FOUND')
    await backend.saveSnapshot(atTask('i'))
    await backend.deleteSnapshot('i')
    await failure(backend.claimTask(params), 'NOT_FOUND')
  }),

  rule('C6', 'a task that the position does not let run is not claimed', async (t) => {
    const backend = await t.open()
    const wakeAt = (await storeTime(backend)) + LONG_MS
    const branches = new Map([['x', { taskId: 'x', output: bytes('from x') }]])
    const positions: Record<string, Position> = {
      'not-started': { kind: 'not-started' },
      task: { kind: 'at-task', taskId: 'b' },
      delay: { kind: 'at-delay', delayId: 'a', enteredAt: 0, wakeAt, nextTaskId: 'b' },
      ending: { kind: 'at-delay', delayId: 'a', enteredAt: 0, wakeAt, nextTaskId: null },
      signal: { kind: 'at-signal', signalId: 'a', signalName: 'a', wakeAt: null, nextTaskId: 'b' },
      last: { kind: 'at-signal', signalId: 'a', signalName: 'a', wakeAt, nextTaskId: null },
      join: { kind: 'at-join', joinId: 'b', completedBranches: branches },
      loop: { kind: 'in-loop', loopId: 'a', iteration: 1, nextTaskId: 'b' },
      idle: { kind: 'in-loop', loopId: 'a', iteration: 1, nextTaskId: null },
    }
    for (const [instanceId, position] of Object.entries(positions)) {
      await backend.saveSnapshot(at(instanceId, position))
      await isRefused(backend, instanceId)
    }
    await backend.saveSnapshot(atFork('fork', ['b', { taskId: 'c', branch: 'a' }]))
    for (const taskId of ['a', 'fork', 'join']) await isRefused(backend, 'fork', taskId)
    // A task that completed before is no different from any other.
    await backend.saveSnapshot(completeTask(atTask('done', 'b'), 'a', bytes('out')))
    await isRefused(backend, 'done')
    await backend.saveSnapshot(completeTask(atTask('again'), 'a', bytes('out')))
    await claim(backend, 'again')
  }),

  rule('C6', 'a task that is not yet due is not claimed', async (t) => {
    const backend = await t.open()
    const wakeAt = (await storeTime(backend)) + LONG_MS
    await backend.saveSnapshot(
      at('delay', { kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt, nextTaskId: 'a' }),
    )
    const signal = { kind: 'at-signal', signalId: 's', signalName: 's', nextTaskId: 'a' } as const
    await backend.saveSnapshot(at('signal', { ...signal, wakeAt }))
    await backend.saveSnapshot(at('waiting', { ...signal, wakeAt: null }))
    await backend.saveSnapshot(atFork('fork', [{ taskId: 'a', availableAt: wakeAt }, 'x']))
    await backend.saveSnapshot(atTask('retry'))
    const outcome = { kind: 'retry', error: 'e', delayMs: LONG_MS } as const
    await backend.commitTask({ claim: await claim(backend, 'retry'), outcome })
    for (const instanceId of ['delay', 'signal', 'waiting', 'fork', 'retry']) {
      await isRefused(backend, instanceId)
    }
    expect(await found(backend)).toEqual(['fork/x'])
  }),

  rule('C6', 'it is claimed once it is due', async (t) => {
    const backend = await t.open()
    const wakeAt = (await storeTime(backend)) + SHORT_MS
    await backend.saveSnapshot(
      at('delay', { kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt, nextTaskId: 'a' }),
    )
    await backend.saveSnapshot(
      at('signal', {
        kind: 'at-signal',
        signalId: 's',
        signalName: 's',
        wakeAt,
        nextTaskId: 'a',
      }),
    )
    await backend.saveSnapshot(atFork('fork', [{ taskId: 'a', availableAt: wakeAt }]))
    await backend.saveSnapshot(atTask('retry'))
    const outcome = { kind: 'retry', error: 'e', delayMs: SHORT_MS } as const
    await backend.commitTask({ claim: await claim(backend, 'retry'), outcome })
    await t.elapse(2 * SHORT_MS)
    for (const instanceId of ['delay', 'signal', 'fork', 'retry']) {
      const held = await claim(backend, instanceId)
      expect(held.claimedAt).toBeGreaterThanOrEqual(wakeAt - slackMs(t))
      // It is held: the timer that led to it does not hand it out again.
      expect(await found(backend)).not.toContain(`${instanceId}/a`)
    }
  }),

  rule(
    'C6',
    'no task of an instance that is paused or has a signal pending is claimed',
    async (t) => {
      const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
      for (const kind of ['pause', 'cancel'] as const) {
        await backend.saveSnapshot(atTask(kind))
        await other.storeSignal(kind, kind)
        await isRefused(backend, kind)
        await other.clearSignal(kind, kind)
        await backend.releaseTaskClaim(await claim(backend, kind))
      }
      await backend.storeSignal('pause', 'pause')
      expect(await backend.checkAndPause('pause')).toBe(true)
      await isRefused(other, 'pause')
      await backend.unpause('pause')
      await claim(other, 'pause')
    },
  ),

  rule('C6', 'no task of an ended instance is claimed', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(completeWorkflow(atTask('completed'), bytes('end')))
    await backend.saveSnapshot(failWorkflow(atTask('failed'), 'no'))
    await backend.saveSnapshot(atTask('committed'))
    await run(backend, 'committed', 'a', 'out', toEnd('end'))
    await backend.saveSnapshot(atTask('cancelled'))
    await backend.storeSignal('cancelled', 'cancel')
    await backend.checkAndCancel('cancelled')
    for (const instanceId of ['completed', 'failed', 'committed', 'cancelled']) {
      await isRefused(backend, instanceId)
    }
  }),

  rule('C6', 'a task is claimed anew after each commit that comes back to it', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    for (let round = 0; round < 3; round += 1) {
      await run(backend, 'i', 'a', `out ${round}`, toTask('a'))
    }
    expect(await found(backend)).toEqual(['i/a'])
    expect((await backend.loadSnapshot('i')).revision).toBe(4)
  }),
]

/** Claims: how they are renewed, and when there is none to be had. */
export const claimTests: readonly ContractTest[] = [...renewing, ...refusing]
