import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { NextPendingTask } from '../position.ts'
import { bytes, type ContractTest, rule } from './context.ts'
import { atFork, atTask, claim, found, LONG_MS, WORKER } from './fixtures.ts'
import { CLAIM_NEXT, commit, run } from './steps.ts'

/** The tasks in the order in which one call claims them. */
async function claimedOrder(
  backend: PersistentBackend,
  workerId: string = WORKER,
  limit = 1000,
): Promise<string[]> {
  const claimed = await backend.claimAvailableTasks({ workerId, limit, ttlMs: LONG_MS })
  return claimed.map(({ task }) => `${task.instanceId}/${task.taskId}`)
}

/** Fails a claimed task so that it may run again at once. */
async function fail(
  backend: PersistentBackend,
  instanceId: string,
  taskId: string,
  workerId: string,
): Promise<void> {
  const held = await claim(backend, instanceId, taskId, { workerId })
  await backend.commitTask({ claim: held, outcome: { kind: 'retry', error: 'e', delayMs: 0 } })
}

/** Puts instance `i` at a fork of these tasks, whose delays all count from one moment. */
async function enterFork(
  backend: PersistentBackend,
  pendingTasks: readonly NextPendingTask[],
): Promise<void> {
  await backend.saveSnapshot(atTask('i'))
  const join = { taskId: 'join' }
  await run(backend, 'i', 'a', 'out', {
    position: { kind: 'at-fork', forkId: 'fork', pendingTasks, join },
  })
}

/** Rule D2. */
const order: readonly ContractTest[] = [
  rule('D2', 'the most urgent come first, within one instance', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(
      atFork('i', [
        { taskId: 'p5', priority: 5 },
        { taskId: 'p2', priority: 2 },
        'none',
        { taskId: 'p4', priority: 4 },
        { taskId: 'p1', priority: 1 },
      ]),
    )
    const ordered = ['i/p1', 'i/p2', 'i/none', 'i/p4', 'i/p5']
    expect(await found(backend)).toEqual(ordered)
    expect(await found(backend, { limit: 2 })).toEqual(ordered.slice(0, 2))
    expect(await claimedOrder(backend, 'w2', 1)).toEqual(ordered.slice(0, 1))
    expect(await claimedOrder(backend)).toEqual(ordered.slice(1))
  }),

  rule('D2', 'the most urgent come first, whatever instance they are of', async (t) => {
    const backend = await t.open()
    const priorities = [4, 1, 5, null, 2]
    for (const [index, priority] of priorities.entries()) {
      await backend.saveSnapshot(atTask(`i${index}`, 'a', { priority }))
    }
    const tasks = await found(backend)
    const ordered = ['i1/a', 'i4/a', 'i3/a', 'i0/a', 'i2/a']
    if (t.capabilities.order === 'shard') {
      expect(tasks.toSorted()).toEqual(ordered.toSorted())
      return
    }
    expect(tasks).toEqual(ordered)
    expect(await claimedOrder(backend, WORKER, 3)).toEqual(ordered.slice(0, 3))
    expect(await claimedOrder(backend, WORKER, 3)).toEqual(ordered.slice(3))
  }),

  rule('D2', 'among equals, who waits longest comes first', async (t) => {
    const backend = await t.open()
    const ids = ['m', 'z', 'b', 'y', 'a']
    for (const instanceId of ids) {
      await backend.saveSnapshot(atTask(instanceId))
      await t.elapse(1)
    }
    // A claim that came and went, and a save, change nothing of that.
    await backend.releaseTaskClaim(await claim(backend, 'b'))
    await backend.saveSnapshot(await backend.loadSnapshot('m'))
    const tasks = await found(backend)
    const ordered = ids.map((instanceId) => `${instanceId}/a`)
    if (t.capabilities.order === 'global') {
      expect(tasks).toEqual(ordered)
      expect(await claimedOrder(backend)).toEqual(ordered)
    } else {
      expect(tasks.toSorted()).toEqual(ordered.toSorted())
    }
  }),

  rule('D2', 'among equals of one instance, who became due first comes first', async (t) => {
    const backend = await t.open()
    await enterFork(backend, [
      { taskId: 'a', delayMs: 40 },
      { taskId: 'b', delayMs: 30 },
      { taskId: 'c', delayMs: 35 },
      { taskId: 'd', delayMs: LONG_MS },
    ])
    await t.elapse(40)
    expect(await found(backend)).toEqual(['i/b', 'i/c', 'i/a'])
  }),

  rule('D2', 'waiting for agingIntervalMs is worth one level of priority', async (t) => {
    const backend = await t.open({ agingIntervalMs: 20 })
    // Four levels are 80 ms: the first is overtaken by one that becomes due less than that later.
    await enterFork(backend, [
      { taskId: 'p5', priority: 5, delayMs: 1 },
      { taskId: 'p1 too late', priority: 1, delayMs: 82 },
      { taskId: 'p1 in time', priority: 1, delayMs: 80 },
      { taskId: 'p4', priority: 4, delayMs: 20 },
      { taskId: 'p4 too late', priority: 4, delayMs: 22 },
      { taskId: 'p2', priority: 2, delayMs: 51 },
    ])
    await t.elapse(82)
    const ordered = ['p2', 'p4', 'p1 in time', 'p5', 'p4 too late', 'p1 too late']
    expect(await found(backend)).toEqual(ordered.map((taskId) => `i/${taskId}`))
    expect(await claimedOrder(backend)).toEqual(ordered.map((taskId) => `i/${taskId}`))
  }),

  rule(
    'D2',
    'who has waited four intervals at priority 5 comes before a new one at 1',
    async (t) => {
      for (const [agingIntervalMs, first] of [
        [10, 'old/a'],
        [LONG_MS, 'new/a'],
      ] as const) {
        const backend = await t.open({ agingIntervalMs })
        await backend.saveSnapshot(atTask('old', 'a', { priority: 5 }))
        await t.elapse(50)
        await backend.saveSnapshot(atTask('new', 'a', { priority: 1 }))
        const tasks = await found(backend)
        expect(tasks.toSorted()).toEqual(['new/a', 'old/a'])
        if (t.capabilities.order === 'global') expect(tasks[0]).toBe(first)
      }
    },
  ),
]

/** Rule D4. */
const retries: readonly ContractTest[] = [
  rule('D4', 'the worker that failed a task gets it after all others', async (t) => {
    const backend = await t.open()
    const others = [
      { taskId: 'y', priority: 4 },
      { taskId: 'z', priority: 5 },
    ]
    await backend.saveSnapshot(atFork('i', [{ taskId: 'x', priority: 1 }, ...others]))
    await fail(backend, 'i', 'x', 'w1')
    expect(await found(backend, { workerId: 'w2' })).toEqual(['i/x', 'i/y', 'i/z'])
    expect(await found(backend, { workerId: 'w1' })).toEqual(['i/y', 'i/z', 'i/x'])
    expect(await found(backend, { workerId: 'w1', limit: 2 })).toEqual(['i/y', 'i/z'])
    expect(await found(backend, { workerId: 'w2', limit: 1 })).toEqual(['i/x'])
    expect(await claimedOrder(backend, 'w1', 1)).toEqual(['i/y'])
    expect(await claimedOrder(backend, 'w1', 5)).toEqual(['i/z', 'i/x'])
  }),

  rule('D4', 'it is the last who failed it that counts', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', [{ taskId: 'x', priority: 1 }, 'y']))
    await fail(backend, 'i', 'x', 'w1')
    await fail(backend, 'i', 'x', 'w2')
    expect(await found(backend, { workerId: 'w1' })).toEqual(['i/x', 'i/y'])
    expect(await found(backend, { workerId: 'w2' })).toEqual(['i/y', 'i/x'])
  }),

  rule('D4', 'a save may tell who failed it last', async (t) => {
    const backend = await t.open()
    const retryOf = (lastFailedWorker: string | null) =>
      new Map([['x', { attempts: 1, lastError: 'e', lastFailedWorker, nextRetryAt: 1 }]])
    const waiting = atFork('i', [{ taskId: 'x', priority: 1 }, 'y'])
    for (const worker of ['w1', 'w2', null, 'w1']) {
      await backend.saveSnapshot({ ...waiting, retries: retryOf(worker) })
      for (const workerId of ['w1', 'w2']) {
        const order = workerId === worker ? ['i/y', 'i/x'] : ['i/x', 'i/y']
        expect(await found(backend, { workerId })).toEqual(order)
      }
    }
  }),

  rule('D4', 'several that it failed come last in their own order', async (t) => {
    const backend = await t.open()
    const ids = ['a', 'b', 'c', 'd', 'e']
    const tasks = ids.map((taskId, index) => ({ taskId, priority: 5 - index }))
    await backend.saveSnapshot(atFork('i', tasks))
    for (const taskId of ['b', 'e', 'c']) await fail(backend, 'i', taskId, 'w1')
    const ordered = ['d', 'a', 'e', 'c', 'b'].map((taskId) => `i/${taskId}`)
    expect(await found(backend, { workerId: 'w1' })).toEqual(ordered)
    expect(await claimedOrder(backend, 'w1')).toEqual(ordered)
  }),

  rule('D4', 'it comes last among tasks of other instances too, but it does come', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i', 'a', { priority: 1 }))
    await fail(backend, 'i', 'a', 'w1')
    expect(await found(backend, { workerId: 'w1' })).toEqual(['i/a'])
    await backend.saveSnapshot(atTask('j', 'a', { priority: 5 }))
    if (t.capabilities.order === 'global') {
      expect(await found(backend, { workerId: 'w1', limit: 1 })).toEqual(['j/a'])
      expect(await claimedOrder(backend, 'w1', 1)).toEqual(['j/a'])
      expect(await claimedOrder(backend, 'w1', 1)).toEqual(['i/a'])
    } else {
      expect((await claimedOrder(backend, 'w1')).toSorted()).toEqual(['i/a', 'j/a'])
    }
  }),

  rule('D4', 'a commit with claimNext gives the retry only where nothing else is', async (t) => {
    const backend = await t.open()
    const retry = { kind: 'retry', error: 'e', delayMs: 0 } as const
    await backend.saveSnapshot(atTask('i', 'a', { priority: 1 }))
    const alone = await backend.commitTask({
      claim: await claim(backend, 'i'),
      outcome: retry,
      claimNext: CLAIM_NEXT,
    })
    expect(alone.next?.task).toMatchObject({ instanceId: 'i', attempt: 2, deliveries: 2 })
    await backend.saveSnapshot(atTask('j', 'a', { priority: 5 }))
    const { next } = await backend.commitTask({
      claim: alone.next?.claim ?? expect.fail('the retry should be claimed'),
      outcome: retry,
      claimNext: CLAIM_NEXT,
    })
    expect(next?.task).toMatchObject({ instanceId: 'j', deliveries: 1 })
    expect(await found(backend)).toEqual(['i/a'])
  }),

  rule('D4', 'claimNext prefers any other task to one that the worker failed', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', ['x', 'y', 'z']))
    await fail(backend, 'i', 'x', WORKER)
    await backend.saveSnapshot(atTask('j', 'a', { priority: 5 }))
    const first = await commit(
      backend,
      await claim(backend, 'i', 'y'),
      'from y',
      { branch: null },
      CLAIM_NEXT,
    )
    expect(first.next?.task.taskId).toBe('z')
    const second = await commit(
      backend,
      first.next?.claim ?? expect.fail(),
      'from z',
      { branch: null },
      CLAIM_NEXT,
    )
    expect(second.next?.task.instanceId).toBe('j')
    const third = await commit(
      backend,
      second.next?.claim ?? expect.fail(),
      'from j',
      { finalOutput: bytes('end') },
      CLAIM_NEXT,
    )
    expect(third.next?.task).toMatchObject({ instanceId: 'i', taskId: 'x', attempt: 2 })
  }),

  rule('D4', 'once the task is completed its failures are forgotten', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i', 'a', { priority: 1 }))
    await fail(backend, 'i', 'a', WORKER)
    await run(backend, 'i', 'a', 'out', {
      position: {
        kind: 'at-fork',
        forkId: 'f',
        pendingTasks: [{ taskId: 'a', priority: 1 }, { taskId: 'b' }],
        join: { taskId: 'j' },
      },
    })
    expect(await found(backend)).toEqual(['i/a', 'i/b'])
  }),
]

/** In which order tasks are handed out. */
export const dispatchOrderTests: readonly ContractTest[] = [...order, ...retries]
