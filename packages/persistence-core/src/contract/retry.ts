import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { CommitReceipt, TaskClaim } from '../task-claim-store.ts'
import { completeTask } from '../transitions.ts'
import { bytes, type ContractTest, rule } from './context.ts'
import {
  atFork,
  atTask,
  claim,
  claimOne,
  found,
  LONG_MS,
  SHORT_MS,
  toTask,
  WORKER,
} from './fixtures.ts'
import { CLAIM_NEXT, commit, outputsOf, run, storeTime, tasksOf } from './steps.ts'

/** Commits a claimed task for a retry. */
function retry(
  backend: PersistentBackend,
  held: TaskClaim,
  delayMs: number,
  options: { readonly error?: string; readonly maxAttempts?: number } = {},
): Promise<CommitReceipt> {
  const outcome = { kind: 'retry', error: 'no luck', delayMs, ...options } as const
  return backend.commitTask({ claim: held, outcome })
}

/** Rule D7. */
export const retryTests: readonly ContractTest[] = [
  rule('D7', 'a retry makes the task available again after its delay', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(
      completeTask(atTask('i', 'a', { priority: 2, tags: ['x'] }), 'z', bytes('z')),
    )
    const before = (await tasksOf(backend, 'i')).get('a')
    const held = await claim(backend, 'i', 'a', { workerId: 'w7' })
    expect(await retry(backend, held, SHORT_MS)).toEqual({
      revision: 2,
      status: 'in-progress',
      next: null,
    })
    const after = await backend.loadSnapshot('i')
    expect(after).toMatchObject({ priority: 2, tags: ['x'] })
    expect(outputsOf(after)).toEqual([['z', 'z']])
    expect([...after.retries]).toEqual([
      [
        'a',
        {
          attempts: 1,
          lastError: 'no luck',
          lastFailedWorker: 'w7',
          nextRetryAt: after.updatedAt + SHORT_MS,
        },
      ],
    ])
    await t.elapse(SHORT_MS)
    const { task } = await claimOne(backend)
    expect(task).toEqual({
      ...before,
      attempt: 2,
      deliveries: 2,
      availableSince: after.updatedAt + SHORT_MS,
    })
  }),

  rule('D7', 'it is not available before', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await retry(backend, await claim(backend, 'i'), LONG_MS)
    expect(await found(backend)).toEqual([])
    expect(
      await backend.claimTask({ instanceId: 'i', taskId: 'a', workerId: WORKER, ttlMs: null }),
    ).toBeNull()
    expect(await backend.waitForWakeup({ timeoutMs: 0 })).toBeNull()
  }),

  rule('D7', 'a fraction of a millisecond is waited in full', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await retry(backend, await claim(backend, 'i'), 1000.01)
    const { retries, updatedAt } = await backend.loadSnapshot('i')
    expect(retries.get('a')?.nextRetryAt).toBe(updatedAt + 1001)
  }),

  rule('D7', 'attempts count failures only, deliveries count claims', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await claim(backend, 'i', 'a', { ttlMs: SHORT_MS })
    await t.elapse(SHORT_MS)
    const first = await claimOne(backend)
    expect(first.task).toMatchObject({ attempt: 1, deliveries: 2 })
    await retry(backend, first.claim, 0, { error: 'first' })
    const second = await claimOne(backend)
    expect(second.task).toMatchObject({ attempt: 2, deliveries: 3 })
    await backend.releaseTaskClaim(second.claim)
    const third = await claimOne(backend, 'w2')
    expect(third.task).toMatchObject({ attempt: 2, deliveries: 4 })
    await retry(backend, third.claim, 0, { error: 'second' })
    expect((await tasksOf(backend, 'i')).get('a')).toMatchObject({ attempt: 3, deliveries: 4 })
    expect((await backend.loadSnapshot('i')).retries.get('a')).toMatchObject({
      attempts: 2,
      lastError: 'second',
      lastFailedWorker: 'w2',
    })
  }),

  rule('D7', 'when it has run maxAttempts times the instance fails with that error', async (t) => {
    const backend = await t.open()
    for (const maxAttempts of [1, 2, 3]) {
      const instanceId = `i${maxAttempts}`
      await backend.saveSnapshot(completeTask(atTask(instanceId), 'z', bytes('from z')))
      for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
        const held = await claim(backend, instanceId)
        const error = `failure ${attempt}`
        const { status } = await retry(backend, held, 0, { error, maxAttempts })
        expect(status).toBe(attempt === maxAttempts ? 'failed' : 'in-progress')
      }
      const failed = await backend.loadSnapshot(instanceId)
      expect(failed.state).toMatchObject({ status: 'failed', error: `failure ${maxAttempts}` })
      expect(failed.retries.get('a')?.attempts).toBe(maxAttempts)
      expect(outputsOf(failed)).toEqual([['z', 'from z']])
    }
    expect(await found(backend)).toEqual([])
  }),

  rule('D7', 'claims that expire do not count for maxAttempts', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    for (let expired = 0; expired < 3; expired += 1) {
      await claim(backend, 'i', 'a', { ttlMs: 1 })
      await t.elapse(1)
    }
    const receipt = await retry(backend, await claim(backend, 'i'), 0, { maxAttempts: 2 })
    expect(receipt.status).toBe('in-progress')
  }),

  rule('D7', 'completing the task clears its retry state', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await retry(backend, await claim(backend, 'i'), 0)
    await run(backend, 'i', 'a', 'out', toTask('a'))
    expect((await backend.loadSnapshot('i')).retries.size).toBe(0)
    await backend.saveSnapshot(atTask('j'))
    await retry(backend, await claim(backend, 'j'), 0)
    await run(backend, 'j', 'a', 'out', toTask('b'))
    expect((await backend.loadSnapshot('j')).retries.size).toBe(0)
    await backend.deleteSnapshot('j')
    const { task, claim: held } = await claimOne(backend)
    expect(task).toMatchObject({ attempt: 1, deliveries: 1, input: bytes('out') })
    // Two failures of the round before and this one: not three.
    expect(await retry(backend, held, 0, { maxAttempts: 2 })).toMatchObject({
      status: 'in-progress',
    })
  }),

  rule('D7', 'a stored result of the task clears its retry state too', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await retry(backend, await claim(backend, 'i'), LONG_MS)
    await backend.saveTaskResult({ instanceId: 'i', taskId: 'a', output: bytes('out') })
    expect((await backend.loadSnapshot('i')).retries.size).toBe(0)
  }),

  rule('D7', 'each task of a fork has retries of its own', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', ['x', 'y']))
    await retry(backend, await claim(backend, 'i', 'x'), LONG_MS, { error: 'of x' })
    expect(await found(backend)).toEqual(['i/y'])
    await retry(backend, await claim(backend, 'i', 'y'), 0, { error: 'of y' })
    const tasks = await tasksOf(backend, 'i')
    expect([...tasks.keys()]).toEqual(['y'])
    expect(tasks.get('y')).toMatchObject({ attempt: 2, deliveries: 1, input: bytes('in') })
    const { retries } = await backend.loadSnapshot('i')
    expect([...retries].map(([id, { lastError }]) => [id, lastError])).toEqual([
      ['x', 'of x'],
      ['y', 'of y'],
    ])
    await commit(backend, await claim(backend, 'i', 'y'), 'from y', { branch: null })
    expect([...(await backend.loadSnapshot('i')).retries.keys()]).toEqual(['x'])
  }),

  rule('D7', 'a retry can bring other work with it', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.saveSnapshot(atTask('other'))
    const { revision, next } = await backend.commitTask({
      claim: await claim(backend, 'i'),
      outcome: { kind: 'retry', error: 'e', delayMs: LONG_MS },
      claimNext: CLAIM_NEXT,
    })
    expect([revision, next?.task.instanceId]).toEqual([2, 'other'])
    expect(await found(backend)).toEqual([])
  }),

  rule('D7', 'a task waits for its retry and for what its position says, both', async (t) => {
    const backend = await t.open()
    const later = (await storeTime(backend)) + LONG_MS
    const failed = { attempts: 1, lastError: 'e', lastFailedWorker: null }
    await backend.saveSnapshot({
      ...atFork('i', [{ taskId: 'x', availableAt: later }, 'y', { taskId: 'z', availableAt: 1 }]),
      retries: new Map([
        ['x', { ...failed, nextRetryAt: 1 }],
        ['y', { ...failed, nextRetryAt: later }],
        ['z', { ...failed, nextRetryAt: 1 }],
      ]),
    })
    expect(await found(backend)).toEqual(['i/z'])
    for (const taskId of ['x', 'y']) {
      const params = { instanceId: 'i', taskId, workerId: WORKER, ttlMs: LONG_MS }
      expect(await backend.claimTask(params)).toBeNull()
    }
  }),

  rule('D7', 'another failure keeps the retry policy that the engine has stored', async (t) => {
    const backend = await t.open()
    const policy = { maxRetries: 9, initialDelayMs: 5, backoffMultiplier: 2, maxDelayMs: null }
    const before = { attempts: 1, lastError: 'e', lastFailedWorker: null, nextRetryAt: 1 }
    await backend.saveSnapshot({
      ...atTask('i'),
      retries: new Map([['a', { ...before, policy }]]),
    })
    await retry(backend, await claim(backend, 'i'), 0)
    const { retries } = await backend.loadSnapshot('i')
    expect(retries.get('a')).toMatchObject({ attempts: 2, lastError: 'no luck', policy })
  }),
]
