import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { TaskClaim, TaskClaimRef } from '../task-claim-store.ts'
import { completeTask, failWorkflow, moveTo } from '../transitions.ts'
import { bytes, type ContractTest, failure, rule } from './context.ts'
import {
  at,
  atFork,
  atTask,
  claim,
  completed,
  found,
  LONG_MS,
  SHORT_MS,
  toTask,
  WORKER,
} from './fixtures.ts'
import { expiredClaim, isAsItWas, isLost, OUTCOMES } from './lost.ts'
import { commit, outputsOf, run } from './steps.ts'
import { unchanged } from './stored.ts'

/** Rule C4: what loses a claim. */
const losing: readonly ContractTest[] = [
  rule(
    'C4',
    'a claim that expired and was taken over is lost, its successor’s is not',
    async (t) => {
      const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
      const zombie = await expiredClaim(t, backend)
      const successor = await claim(other, 'i', 'a', { workerId: 'w2' })
      await isLost(backend, zombie)
      await isLost(other, zombie)
      await isLost(backend, { instanceId: 'i', taskId: 'a', workerId: WORKER })
      await isAsItWas(backend, successor)
      expect(await commit(other, successor, 'out', toTask('b'))).toMatchObject({ revision: 2 })
    },
  ),

  rule('C4', 'the same worker’s older claim is lost as well', async (t) => {
    const backend = await t.open()
    const first = await expiredClaim(t, backend)
    const second = await claim(backend, 'i', 'a', { ttlMs: SHORT_MS })
    await t.elapse(SHORT_MS)
    // Expired too, but the last one still.
    await isLost(backend, first)
    const third = await claim(backend, 'i')
    await isLost(backend, first)
    await isLost(backend, second)
    await isAsItWas(backend, third)
  }),

  rule('C4', 'a claim whose token is not the one that was given is lost', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    await isLost(backend, { ...held, token: held.token + 1 })
    if (held.token > 0) await isLost(backend, { ...held, token: held.token - 1 })
    await isAsItWas(backend, held)
  }),

  rule('C4', 'the worker must be the holder, with the right token too', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', ['a', 'x']))
    const held = await claim(backend, 'i')
    const { token: _, ...ref } = held
    const before = await backend.loadSnapshot('i')
    for (const wrong of [
      { ...held, workerId: 'w2' },
      { ...ref, workerId: 'w2' },
      { ...held, taskId: 'x' },
      { ...ref, taskId: 'x' },
    ]) {
      await failure(backend.renewTaskClaim(wrong, LONG_MS), 'CLAIM_LOST')
      await failure(backend.extendTaskClaim(wrong, LONG_MS), 'CLAIM_LOST')
      await failure(
        backend.commitTask({ claim: wrong, outcome: completed('out', { branch: null }) }),
        'CLAIM_LOST',
      )
      await failure(backend.saveSnapshot(before, { claim: wrong }), 'CLAIM_LOST')
      // Nobody holds `x`: there is nothing to give up.
      if (wrong.taskId === 'x') await backend.releaseTaskClaim(wrong)
      else await failure(backend.releaseTaskClaim(wrong), 'CLAIM_LOST')
    }
    await unchanged(backend, before)
    await isAsItWas(backend, held)
  }),

  rule('C4', 'without a token the worker id alone must match', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const ref: TaskClaimRef = { instanceId: 'i', taskId: 'a', workerId: WORKER }
    await isLost(backend, ref, { held: false })
    const held = await claim(backend, 'i')
    const extended = { ...held, expiresAt: (held.expiresAt as number) + 7 }
    expect(await backend.extendTaskClaim(ref, 7)).toEqual(extended)
    expect(await backend.renewTaskClaim(ref, LONG_MS)).toMatchObject({ token: held.token })
    await backend.releaseTaskClaim(ref)
    expect(await found(backend)).toEqual(['i/a'])
    await claim(backend, 'i')
    expect(
      await backend.commitTask({ claim: ref, outcome: completed('out', toTask('b')) }),
    ).toEqual({ revision: 2, status: 'in-progress', next: null })
  }),

  rule('C4', 'a claim that was released is lost', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    await backend.releaseTaskClaim(held)
    expect(await found(backend)).toEqual(['i/a'])
    await isLost(backend, held, { held: false })
    expect(await found(backend)).toEqual(['i/a'])
    const next = await claim(backend, 'i', 'a', { workerId: 'w2' })
    await isLost(backend, held)
    await isAsItWas(backend, next)
  }),

  rule('C4', 'a claim that was committed is lost, but for the same commit again', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    await commit(backend, held, 'out', toTask('a'))
    const before = await backend.loadSnapshot('i')
    await failure(backend.renewTaskClaim(held, LONG_MS), 'CLAIM_LOST')
    await failure(backend.extendTaskClaim(held, LONG_MS), 'CLAIM_LOST')
    await failure(backend.saveSnapshot(before, { claim: held }), 'CLAIM_LOST')
    await backend.releaseTaskClaim(held)
    await unchanged(backend, before)
    expect(await found(backend)).toEqual(['i/a'])
    // The task once more, and now it is another's.
    const next = await claim(backend, 'i', 'a', { workerId: 'w2' })
    await isLost(backend, held)
    await isAsItWas(backend, next)
  }),

  rule('C4', 'a claim is lost when a save moves the position on, and stays lost', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i', 'a', { ttlMs: null })
    await other.saveSnapshot(atTask('i', 'b'))
    await isLost(backend, held, { held: false })
    expect(await found(backend)).toEqual(['i/b'])
    await other.saveSnapshot(atTask('i'))
    await isLost(backend, held, { held: false })
    const next = await claim(other, 'i', 'a', { workerId: 'w2' })
    expect(next.token).toBeGreaterThan(held.token)
    await isLost(backend, held)
  }),

  rule('C4', 'a save that leaves the task runnable leaves the claim', async (t) => {
    const backend = await t.open()
    const saved = await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    await backend.saveSnapshot(completeTask(saved, 'z', bytes('from z')))
    await backend.saveTaskResult({ instanceId: 'i', taskId: 'y', output: bytes('from y') })
    expect(await found(backend)).toEqual([])
    await isAsItWas(backend, held)
    await commit(backend, held, 'out', toTask('b'))
    expect(outputsOf(await backend.loadSnapshot('i')).map(([id]) => id)).toEqual(['z', 'y', 'a'])
  }),

  rule('C4', 'a claim is lost with its instance, also when that is created again', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i', 'a', { ttlMs: null })
    await other.deleteSnapshot('i')
    await failure(backend.renewTaskClaim(held, LONG_MS), 'NOT_FOUND')
    await failure(backend.extendTaskClaim(held, LONG_MS), 'NOT_FOUND')
    await failure(backend.releaseTaskClaim(held), 'NOT_FOUND')
    await failure(commit(backend, held, 'out', toTask('b')), 'NOT_FOUND')
    await failure(backend.saveSnapshot(atTask('i'), { claim: held }), 'NOT_FOUND')
    await other.saveSnapshot(atTask('i'))
    await isLost(backend, held, { held: false })
    const next = await claim(other, 'i', 'a', { workerId: 'w2' })
    await isLost(backend, held)
    await isAsItWas(other, next)
  }),
]

/** Rule C4: what does not lose a claim, and what is no error. */
const keeping: readonly ContractTest[] = [
  rule('C4', 'an expired claim that nobody took is still its holder’s', async (t) => {
    const backend = await t.open()
    const uses: Record<string, (held: TaskClaim) => Promise<unknown>> = {
      commit: (held) => commit(backend, held, 'out', toTask('b')),
      retry: (held) =>
        backend.commitTask({ claim: held, outcome: { kind: 'retry', error: 'e', delayMs: 0 } }),
      renew: (held) => backend.renewTaskClaim(held, LONG_MS),
      extend: (held) => backend.extendTaskClaim(held, LONG_MS),
      release: (held) => backend.releaseTaskClaim(held),
      save: async (held) => {
        const snapshot = await backend.loadSnapshot(held.instanceId)
        const moved = moveTo(snapshot, { kind: 'at-task', taskId: 'b' })
        return backend.saveSnapshot(moved, { claim: held })
      },
      result: (held) =>
        backend.saveTaskResult({
          instanceId: held.instanceId,
          taskId: 'z',
          output: bytes('out'),
          claim: held,
        }),
    }
    const claims: TaskClaim[] = []
    for (const instanceId of Object.keys(uses)) {
      await backend.saveSnapshot(atTask(instanceId))
      claims.push(await claim(backend, instanceId, 'a', { ttlMs: SHORT_MS }))
    }
    await t.elapse(SHORT_MS)
    expect(await found(backend)).toHaveLength(claims.length)
    for (const held of claims) await uses[held.instanceId]?.(held)
    expect((await found(backend)).toSorted()).toEqual([
      'commit/b',
      'release/a',
      'result/a',
      'retry/a',
      'save/b',
    ])
  }),

  rule('C4', 'releasing a task that nobody holds is no error', async (t) => {
    const backend = await t.open()
    const ref: TaskClaimRef = { instanceId: 'i', taskId: 'a', workerId: WORKER, token: 3 }
    await failure(backend.releaseTaskClaim(ref), 'NOT_FOUND')
    const saved = await backend.saveSnapshot(atTask('i'))
    await backend.releaseTaskClaim(ref)
    await backend.releaseTaskClaim({ ...ref, taskId: 'no-such-task' })
    const held = await claim(backend, 'i')
    await backend.releaseTaskClaim(held)
    await backend.releaseTaskClaim(held)
    await backend.releaseTaskClaim({ ...held, workerId: 'w2' })
    await unchanged(backend, saved)
    await run(backend, 'i', 'a', 'out', toTask('b'))
    await backend.releaseTaskClaim(held)
    expect(await found(backend)).toEqual(['i/b'])
  }),

  rule(
    'C4',
    'releasing what another holds is CLAIM_LOST, also when that has expired',
    async (t) => {
      const backend = await t.open()
      const held = await expiredClaim(t, backend)
      await failure(backend.releaseTaskClaim({ ...held, workerId: 'w2' }), 'CLAIM_LOST')
      await failure(backend.releaseTaskClaim({ ...held, token: held.token + 1 }), 'CLAIM_LOST')
      await backend.releaseTaskClaim(held)
      await backend.releaseTaskClaim({ ...held, workerId: 'w2' })
    },
  ),

  rule('C4', 'on an ended instance a release is no error, all else is TERMINAL', async (t) => {
    const backend = await t.open()
    const ways: Record<string, (held: TaskClaim) => Promise<unknown>> = {
      completed: async (held) => {
        const { instanceId } = held
        return backend.saveSnapshot({
          ...at(instanceId, { kind: 'not-started' }),
          state: { status: 'completed', finalOutput: bytes('end'), completedTasks: new Map() },
        })
      },
      failed: async ({ instanceId }) =>
        backend.saveSnapshot(failWorkflow(await backend.loadSnapshot(instanceId), 'no')),
      cancelled: async ({ instanceId }) => {
        await backend.storeSignal(instanceId, 'cancel')
        expect(await backend.checkAndCancel(instanceId)).toBe(true)
      },
    }
    for (const [instanceId, end] of Object.entries(ways)) {
      await backend.saveSnapshot(atTask(instanceId))
      const held = await claim(backend, instanceId)
      await end(held)
      const before = await backend.loadSnapshot(instanceId)
      await backend.releaseTaskClaim(held)
      await backend.releaseTaskClaim({ ...held, workerId: 'w2' })
      await failure(backend.renewTaskClaim(held, LONG_MS), 'TERMINAL')
      await failure(backend.extendTaskClaim(held, LONG_MS), 'TERMINAL')
      await failure(backend.renewTaskClaim({ ...held, workerId: 'w2' }, LONG_MS), 'TERMINAL')
      for (const outcome of OUTCOMES) {
        await failure(backend.commitTask({ claim: held, outcome }), 'TERMINAL')
      }
      await unchanged(backend, before)
    }
  }),

  rule('C4', 'a pause leaves claims as they are', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    await backend.storeSignal('i', 'pause')
    await isAsItWas(backend, held)
    expect(await backend.checkAndPause('i')).toBe(true)
    const renewed = await backend.renewTaskClaim(held, LONG_MS)
    await backend.unpause('i')
    expect(await found(backend)).toEqual([])
    await isAsItWas(backend, renewed)
    await backend.storeSignal('i', 'pause')
    expect(await backend.checkAndPause('i')).toBe(true)
    await backend.releaseTaskClaim(renewed)
    await backend.unpause('i')
    expect(await found(backend)).toEqual(['i/a'])
  }),
]

/** Which claims are lost, which are not, and that a lost one can do nothing. */
export const lostClaimTests: readonly ContractTest[] = [...losing, ...keeping]
