import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { type SnapshotHead, toHead } from '../snapshot.ts'
import type { CommitReceipt } from '../task-claim-store.ts'
import { type ContractTest, rule } from './context.ts'
import { atFork, atTask, claim, completed, found, LONG_MS, toEnd, toTask } from './fixtures.ts'
import { CLAIM_NEXT, commit, outputsOf, placeOf, run } from './steps.ts'
import { plain } from './stored.ts'

/** Proves that a task came with a commit as `claimAvailableTasks` would hand it out. */
async function isClaimed(
  backend: PersistentBackend,
  { next }: CommitReceipt,
  task: string,
): Promise<void> {
  if (next === null) expect.fail(`${task} should be claimed`)
  expect(`${next.task.instanceId}/${next.task.taskId}`).toBe(task)
  const { instanceId, taskId, deliveries } = next.task
  expect(next.claim).toMatchObject({
    instanceId,
    taskId,
    expiresAt: next.claim.claimedAt + LONG_MS,
  })
  expect(deliveries).toBeGreaterThan(0)
  const head: SnapshotHead = toHead(await backend.loadSnapshot(instanceId))
  expect(plain(next.head)).toEqual(plain(head))
  expect(await backend.renewTaskClaim(next.claim, LONG_MS)).toMatchObject({
    token: next.claim.token,
  })
}

/** What a commit with `claimNext` claims. */
export const claimNextTests: readonly ContractTest[] = [
  rule(
    'D6',
    'claimNext takes the next task of the same instance, however urgent others',
    async (t) => {
      const backend = await t.open()
      await backend.saveSnapshot(atTask('urgent', 'a', { priority: 1 }))
      await backend.saveSnapshot(atTask('i', 'a', { priority: 5 }))
      const held = await claim(backend, 'i', 'a', { workerId: 'w7' })
      const receipt = await commit(
        backend,
        held,
        'out',
        { ...toTask('b'), priority: 5 },
        CLAIM_NEXT,
      )
      expect(receipt).toMatchObject({ revision: 2, status: 'in-progress' })
      expect(receipt.next?.claim.workerId).toBe('w7')
      await isClaimed(backend, receipt, 'i/b')
      expect(await found(backend)).toEqual(['urgent/a'])
    },
  ),

  rule('D6', 'claimNext takes the best of another instance where this one has none', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('worse', 'a', { priority: 4 }))
    await backend.saveSnapshot(atTask('better', 'a', { priority: 2 }))
    await backend.saveSnapshot(atTask('ends'))
    await backend.saveSnapshot(atTask('waits'))
    const first = await claim(backend, 'ends')
    const second = await claim(backend, 'waits')
    const one = await commit(backend, first, 'out', toEnd('end'), CLAIM_NEXT)
    const position = { kind: 'at-delay', delayId: 'd', delayMs: LONG_MS, nextTaskId: 'b' } as const
    const two = await commit(backend, second, 'out', { position }, CLAIM_NEXT)
    if (t.capabilities.order === 'global') {
      await isClaimed(backend, one, 'better/a')
      await isClaimed(backend, two, 'worse/a')
    } else {
      expect([one, two].map(({ next }) => next?.task.instanceId).toSorted()).toEqual([
        'better',
        'worse',
      ])
    }
  }),

  rule('D6', 'claimNext in a fork takes the best of its tasks', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', ['x', { taskId: 'y', priority: 4 }]))
    const held = await claim(backend, 'i', 'x')
    const next = { branch: { taskId: 'x2', priority: 5 } }
    const receipt = await commit(backend, held, 'from x', next, CLAIM_NEXT)
    await isClaimed(backend, receipt, 'i/y')
    const last = await commit(
      backend,
      receipt.next?.claim ?? expect.fail(),
      'from y',
      { branch: null },
      CLAIM_NEXT,
    )
    await isClaimed(backend, last, 'i/x2')
  }),

  rule('D6', 'claimNext takes the one of equal tasks that a find would show first', async (t) => {
    const backend = await t.open()
    const pendingTasks = ['\u{1F600}', 'y', '\uFFFD', 'b'].map((taskId) => ({ taskId }))
    const join = { taskId: 'join' }
    const position = { kind: 'at-fork', forkId: 'fork', pendingTasks, join } as const
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    await isClaimed(backend, await commit(backend, held, 'out', { position }, CLAIM_NEXT), 'i/b')
    expect(await found(backend)).toEqual(['i/y', 'i/\uFFFD', 'i/\u{1F600}'])
  }),

  rule('D6', 'claimNext keeps to its filters', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('tagged', 'a', { tags: ['gpu'], priority: 1 }))
    await backend.saveSnapshot(atTask('d2', 'a', { definitionHash: 'd2' }))
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    const gpu = { ...toTask('b'), tags: ['gpu'] }
    const filter = { tags: ['cpu'], definitionHashes: ['d2'] }
    const first = await commit(backend, held, 'out', gpu, { ...CLAIM_NEXT, ...filter })
    await isClaimed(backend, first, 'd2/a')
    const [, next] = await Promise.all([
      backend.deleteSnapshot('tagged'),
      backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: LONG_MS, tags: ['gpu'] }),
    ])
    expect(next).toHaveLength(1)
  }),

  rule('D6', 'claimNext gives null where nothing is available to the worker', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.saveSnapshot(atTask('other', 'a', { tags: ['gpu'] }))
    const none = { ttlMs: LONG_MS, definitionHashes: [] }
    const { next } = await commit(backend, await claim(backend, 'i'), 'out', toTask('b'), none)
    expect(next).toBeNull()
    const untagged = { ttlMs: null, tags: [] }
    const own = await commit(backend, await claim(backend, 'i', 'b'), 'out', toTask('c'), untagged)
    expect(own.next?.claim.expiresAt).toBeNull()
    const held = own.next?.claim ?? expect.fail()
    expect((await commit(backend, held, 'out', toEnd('end'), untagged)).next).toBeNull()
    expect(await found(backend)).toEqual(['other/a'])
  }),

  rule('D6', 'without claimNext nothing is claimed', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    expect((await run(backend, 'i', 'a', 'out', toTask('b'))).next).toBeNull()
    expect(await found(backend)).toEqual(['i/b'])
  }),

  rule(
    'D6',
    'on a paused instance a commit applies, stays paused, and claims nothing',
    async (t) => {
      const backend = await t.open()
      await backend.saveSnapshot(atTask('free'))
      for (const instanceId of ['moves', 'ends']) await backend.saveSnapshot(atTask(instanceId))
      const moving = await claim(backend, 'moves')
      const ending = await claim(backend, 'ends')
      for (const instanceId of ['moves', 'ends']) {
        await backend.storeSignal(instanceId, 'pause', { reason: 'lunch' })
        expect(await backend.checkAndPause(instanceId)).toBe(true)
      }
      expect(await commit(backend, moving, 'from a', toTask('b'), CLAIM_NEXT)).toEqual({
        revision: 3,
        status: 'paused',
        next: null,
      })
      const paused = await backend.loadSnapshot('moves')
      expect(paused.state).toMatchObject({ status: 'paused', reason: 'lunch' })
      expect(placeOf(paused)).toEqual({ kind: 'at-task', taskId: 'b' })
      expect(outputsOf(paused)).toEqual([['a', 'from a']])
      expect(
        await backend.commitTask({ claim: ending, outcome: completed('x', toEnd('end')) }),
      ).toEqual({ revision: 3, status: 'completed', next: null })
      expect(await found(backend)).toEqual(['free/a'])
      await backend.unpause('moves')
      expect((await found(backend)).toSorted()).toEqual(['free/a', 'moves/b'])
    },
  ),
]
