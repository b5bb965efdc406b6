import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { TaskClaim, TaskOutcome } from '../task-claim-store.ts'
import { bytes, type ContractTest, failure, rule } from './context.ts'
import {
  atFork,
  atTask,
  claim,
  completed,
  found,
  LONG_MS,
  SHORT_MS,
  toEnd,
  toTask,
  WORKER,
} from './fixtures.ts'
import { CLAIM_NEXT, commit, outputsOf, run, together } from './steps.ts'
import { unchanged } from './stored.ts'

/** A commit of task `a` that claims the task after it, for `ttlMs`. */
async function commitAndClaim(
  backend: PersistentBackend,
  ttlMs = LONG_MS,
): Promise<{ held: TaskClaim; next: TaskClaim; again: () => Promise<TaskClaim | null> }> {
  await backend.saveSnapshot(atTask('i'))
  const held = await claim(backend, 'i')
  const once = () => commit(backend, held, 'out', toTask('b'), { ttlMs })
  const { next } = await once()
  if (next === null) expect.fail('the next task should be claimed')
  return { held, next: next.claim, again: async () => (await once()).next?.claim ?? null }
}

/** Rule D6: a commit that is repeated. */
export const repeatedCommitTests: readonly ContractTest[] = [
  rule('D6', 'a repeated commit returns the first receipt and changes nothing', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    const outcomes: Record<string, TaskOutcome> = {
      moved: completed('out', toTask('b')),
      'same task': completed('out', toTask('a')),
      ended: completed('out', toEnd('end')),
      retried: { kind: 'retry', error: 'e', delayMs: 0 },
      'backed off': { kind: 'retry', error: 'e', delayMs: LONG_MS },
      'given up': { kind: 'retry', error: 'e', delayMs: 0, maxAttempts: 1 },
      failed: { kind: 'failed', error: 'no' },
    }
    for (const [instanceId, outcome] of Object.entries(outcomes)) {
      await backend.saveSnapshot(atTask(instanceId))
      const held = await claim(backend, instanceId)
      const first = await backend.commitTask({ claim: held, outcome })
      const after = await backend.loadSnapshot(instanceId)
      expect(first).toEqual({ revision: 2, status: after.state.status, next: null })
      const { token: _, ...ref } = held
      for (const repeat of [held, ref]) {
        expect(await backend.commitTask({ claim: repeat, outcome }), instanceId).toEqual(first)
        expect(await other.commitTask({ claim: repeat, outcome }), instanceId).toEqual(first)
      }
      await unchanged(backend, after)
    }
    expect((await found(backend)).toSorted()).toEqual(['moved/b', 'retried/a', 'same task/a'])
  }),

  rule('D6', 'a repeated commit of a task in a fork, and of its last branch', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', ['x', 'y']))
    const x = await claim(backend, 'i', 'x')
    const y = await claim(backend, 'i', 'y')
    const first = await commit(backend, x, 'from x', { branch: null })
    const second = await commit(backend, y, 'from y', { branch: null })
    expect([first.revision, second.revision]).toEqual([2, 3])
    const after = await backend.loadSnapshot('i')
    expect(await commit(backend, x, 'from x', { branch: null })).toEqual(first)
    expect(await commit(backend, y, 'from y', { branch: null })).toEqual(second)
    await unchanged(backend, after)
    expect(await found(backend)).toEqual(['i/join'])
  }),

  rule('D6', 'a repeated commit counts as the first, whatever it says now', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.saveSnapshot(atTask('other'))
    const held = await claim(backend, 'i')
    const first = await commit(backend, held, 'out', toTask('b'))
    const after = await backend.loadSnapshot('i')
    const different: readonly TaskOutcome[] = [
      completed('different', toEnd('end')),
      completed('different', { branch: null }),
      { kind: 'retry', error: 'e', delayMs: 0 },
      { kind: 'failed', error: 'no' },
    ]
    for (const outcome of different) {
      expect(await backend.commitTask({ claim: held, outcome })).toEqual(first)
      expect(await backend.commitTask({ claim: held, outcome, claimNext: CLAIM_NEXT })).toEqual(
        first,
      )
    }
    await unchanged(backend, after)
    expect((await found(backend)).toSorted()).toEqual(['i/b', 'other/a'])
  }),

  rule(
    'D6',
    'of the same commit sent ten times at once, one is applied, all succeed',
    async (t) => {
      const backends = await t.openMany(2)
      const [backend] = backends as [PersistentBackend]
      await backend.saveSnapshot(atTask('i'))
      await backend.saveSnapshot(atTask('other'))
      const held = await claim(backend, 'i')
      const receipts = await together(10, (index) =>
        commit(backends[index % 2] as PersistentBackend, held, 'out', toTask('b'), CLAIM_NEXT),
      )
      expect(receipts[0]).toMatchObject({ revision: 2, next: { task: { taskId: 'b' } } })
      for (const receipt of receipts) expect(receipt).toEqual(receipts[0])
      expect((await backend.loadSnapshot('i')).revision).toBe(2)
      expect(await found(backend)).toEqual(['other/a'])
    },
  ),

  rule('D6', 'the receipt is the first also when the instance has gone on', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    const first = await commit(backend, held, 'out', toTask('b'))
    await run(backend, 'i', 'b', 'from b', toTask('c'))
    await run(backend, 'i', 'c', 'from c', toTask('a'))
    expect(await commit(backend, held, 'out', toTask('b'))).toEqual(first)
    await backend.storeSignal('i', 'cancel')
    await backend.checkAndCancel('i')
    const after = await backend.loadSnapshot('i')
    expect(after.revision).toBe(5)
    expect(await commit(backend, held, 'out', toTask('b'))).toEqual(first)
    await unchanged(backend, after)
  }),

  rule('D6', 'the next task comes again while its claim is held, expired or not', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    const claimNext = { ttlMs: SHORT_MS }
    const first = await commit(backend, held, 'out', toTask('b'), claimNext)
    expect(first.next).toMatchObject({ task: { instanceId: 'i', taskId: 'b', deliveries: 1 } })
    expect(await commit(other, held, 'out', toTask('b'), claimNext)).toEqual(first)
    // It comes with the first commit: what a repeat asks for does not matter.
    expect(await commit(backend, held, 'out', toTask('b'))).toEqual(first)
    await t.elapse(SHORT_MS)
    expect(await commit(other, held, 'out', toTask('b'), claimNext)).toEqual(first)
    expect(await found(backend)).toEqual(['i/b'])
    const renewed = await backend.renewTaskClaim(first.next?.claim ?? expect.fail(), LONG_MS)
    const again = await commit(backend, held, 'out', toTask('b'), claimNext)
    expect(again.next?.claim).toEqual(renewed)
  }),

  rule('D6', 'a next task of another instance comes again as well', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.saveSnapshot(atTask('j', 'b', { tags: ['x'], definitionHash: 'd2' }))
    const held = await claim(backend, 'i')
    const first = await commit(backend, held, 'out', toEnd('end'), CLAIM_NEXT)
    expect(first).toMatchObject({ status: 'completed', next: { task: { instanceId: 'j' } } })
    expect(await commit(backend, held, 'out', toEnd('end'), CLAIM_NEXT)).toEqual(first)
    await backend.deleteSnapshot('j')
    const { next } = await commit(backend, held, 'out', toEnd('end'), CLAIM_NEXT)
    expect(next).toBeNull()
  }),

  rule('D6', 'the next task comes no more once it was released', async (t) => {
    const backend = await t.open()
    const { next, again } = await commitAndClaim(backend)
    expect(await again()).toEqual(next)
    await backend.releaseTaskClaim(next)
    expect(await again()).toBeNull()
    expect(await found(backend)).toEqual(['i/b'])
  }),

  rule('D6', 'the next task comes no more once another took it over', async (t) => {
    const backend = await t.open()
    const { again } = await commitAndClaim(backend, SHORT_MS)
    await t.elapse(SHORT_MS)
    await claim(backend, 'i', 'b', { workerId: 'w2' })
    expect(await again()).toBeNull()
  }),

  rule(
    'D6',
    'the next task comes no more once it was claimed anew by the same worker',
    async (t) => {
      const backend = await t.open()
      const { again } = await commitAndClaim(backend, SHORT_MS)
      await t.elapse(SHORT_MS)
      await claim(backend, 'i', 'b', { workerId: WORKER })
      expect(await again()).toBeNull()
    },
  ),

  rule('D6', 'the next task comes no more once it was committed', async (t) => {
    const backend = await t.open()
    const { next, again } = await commitAndClaim(backend)
    await commit(backend, next, 'from b', toTask('b'))
    expect(await again()).toBeNull()
    expect(await found(backend)).toEqual(['i/b'])
  }),

  rule('D6', 'once the task was claimed again, its earlier commit is CLAIM_LOST', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const first = await claim(backend, 'i')
    await commit(backend, first, 'first', toTask('a'))
    const second = await claim(backend, 'i', 'a', { workerId: 'w2' })
    const after = await backend.loadSnapshot('i')
    await failure(commit(backend, first, 'first', toTask('a')), 'CLAIM_LOST')
    await unchanged(backend, after)
    await backend.releaseTaskClaim(second)
    await failure(commit(backend, first, 'first', toTask('a')), 'CLAIM_LOST')
    const { next } = await commit(
      backend,
      await claim(backend, 'i', 'a', { workerId: 'w2' }),
      'second',
      toTask('a'),
      CLAIM_NEXT,
    )
    await failure(commit(backend, first, 'first', toTask('a')), 'CLAIM_LOST')
    await failure(commit(backend, second, 'first', toTask('a')), 'CLAIM_LOST')
    expect(outputsOf(await backend.loadSnapshot('i'))).toEqual([['a', 'second']])
    expect(next?.task.deliveries).toBe(1)
  }),

  rule('D6', 'with a claim of its own a worker without a token commits anew', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const { token: _, ...ref } = await claim(backend, 'i')
    expect(await commit(backend, ref, 'first', toTask('a'))).toMatchObject({ revision: 2 })
    expect(await commit(backend, ref, 'first', toTask('a'))).toMatchObject({ revision: 2 })
    await claim(backend, 'i')
    expect(await commit(backend, ref, 'second', toTask('a'))).toMatchObject({ revision: 3 })
    expect(await commit(backend, ref, 'second', toTask('a'))).toMatchObject({ revision: 3 })
    expect(outputsOf(await backend.loadSnapshot('i'))).toEqual([['a', 'second']])
  }),

  rule('D6', 'nobody else repeats a commit, with the right token or without one', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    await commit(backend, held, 'out', toTask('b'))
    const { token, ...ref } = held
    for (const wrong of [
      { ...held, workerId: 'w2' },
      { ...ref, workerId: 'w2' },
      { ...held, taskId: 'b' },
      { ...held, token: token + 1 },
    ]) {
      await failure(commit(backend, wrong, 'out', toTask('b')), 'CLAIM_LOST')
    }
  }),

  rule('D6', 'a commit is forgotten with its instance', async (t) => {
    const backend = await t.open()
    for (const next of [toTask('b'), toEnd('end')]) {
      await backend.saveSnapshot(atTask('i'))
      const held = await claim(backend, 'i')
      await commit(backend, held, 'out', next)
      await backend.deleteSnapshot('i')
      await failure(commit(backend, held, 'out', next), 'NOT_FOUND')
      await backend.saveSnapshot(atTask('i', 'c'))
      await failure(commit(backend, held, 'out', next), 'CLAIM_LOST')
      await backend.saveSnapshot(atTask('i', 'a', { initialInput: bytes('new') }))
      await failure(commit(backend, held, 'out', next), 'CLAIM_LOST')
      expect(await found(backend)).toEqual(['i/a'])
      await backend.deleteSnapshot('i')
    }
  }),
]
