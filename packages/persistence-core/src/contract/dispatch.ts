import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { Position } from '../position.ts'
import { toHead } from '../snapshot.ts'
import type { WorkerFilter } from '../task-claim-store.ts'
import { completeTask, completeWorkflow } from '../transitions.ts'
import { bytes, type ContractTest, rule, text } from './context.ts'
import { at, atFork, atTask, claim, found, LONG_MS, SHORT_MS, toTask, WORKER } from './fixtures.ts'
import { run, storeTime, together } from './steps.ts'
import { plain, unchanged } from './stored.ts'

/** Saves instances of every kind, and tells which tasks are available. */
async function saveEveryKind(backend: PersistentBackend): Promise<string[]> {
  const later = (await storeTime(backend)) + LONG_MS
  const branches = new Map([['x', { taskId: 'x', output: bytes('from x') }]])
  const delay = { kind: 'at-delay', delayId: 'd', enteredAt: 0, nextTaskId: 'a' } as const
  const signal = { kind: 'at-signal', signalId: 's', signalName: 's', nextTaskId: 'a' } as const
  const positions: Record<string, Position> = {
    'not-started': { kind: 'not-started' },
    task: { kind: 'at-task', taskId: 'a' },
    delayed: { ...delay, wakeAt: later },
    'delay-over': { ...delay, wakeAt: 1 },
    ending: { ...delay, wakeAt: later, nextTaskId: null },
    signal: { ...signal, wakeAt: null },
    'signal-timing': { ...signal, wakeAt: later },
    'signal-over': { ...signal, wakeAt: 1 },
    join: { kind: 'at-join', joinId: 'a', completedBranches: branches },
    loop: { kind: 'in-loop', loopId: 'l', iteration: 4, nextTaskId: 'a' },
    'idle-loop': { kind: 'in-loop', loopId: 'l', iteration: 4, nextTaskId: null },
  }
  for (const [instanceId, position] of Object.entries(positions)) {
    await backend.saveSnapshot(at(instanceId, position))
  }
  await backend.saveSnapshot(
    atFork('fork', ['x', { taskId: 'y', availableAt: later }, { taskId: 'z', availableAt: 1 }]),
  )
  await backend.saveSnapshot(completeTask(atTask('completed-before'), 'a', bytes('out')))
  await backend.saveSnapshot(completeWorkflow(atTask('completed'), bytes('end')))
  for (const instanceId of ['claimed', 'released', 'retried', 'backed-off', 'deleted']) {
    await backend.saveSnapshot(atTask(instanceId))
  }
  await claim(backend, 'claimed')
  await backend.releaseTaskClaim(await claim(backend, 'released'))
  for (const [instanceId, delayMs] of [
    ['retried', 0],
    ['backed-off', LONG_MS],
  ] as const) {
    const held = await claim(backend, instanceId, 'a', { workerId: 'w0' })
    await backend.commitTask({ claim: held, outcome: { kind: 'retry', error: 'e', delayMs } })
  }
  await backend.deleteSnapshot('deleted')
  for (const kind of ['pause', 'cancel'] as const) {
    await backend.saveSnapshot(atTask(`${kind}-pending`))
    // With a live claim, nothing applies it yet (rule G4).
    await claim(backend, `${kind}-pending`)
    await backend.storeSignal(`${kind}-pending`, kind)
    await backend.saveSnapshot(atTask(`${kind}-applied`))
    await backend.storeSignal(`${kind}-applied`, kind)
    await backend.checkControlSignals(`${kind}-applied`)
  }
  return [
    'completed-before/a',
    'delay-over/a',
    'fork/x',
    'fork/z',
    'join/a',
    'loop/a',
    'released/a',
    'retried/a',
    'signal-over/a',
    'task/a',
  ]
}

/** Rule D1. */
const availability: readonly ContractTest[] = [
  rule('D1', 'exactly the available tasks are found, and finding claims none', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    const available = await saveEveryKind(backend)
    expect((await found(other)).toSorted()).toEqual(available)
    // Timers that are over have been advanced now; nothing else has changed.
    const before = await backend.loadSnapshot('delay-over')
    expect((await found(backend)).toSorted()).toEqual(available)
    await unchanged(backend, before)
  }),

  rule('D1', 'exactly the available tasks are claimed, once', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    const available = await saveEveryKind(backend)
    const params = { workerId: WORKER, limit: 1000, ttlMs: LONG_MS }
    const claimed = await other.claimAvailableTasks(params)
    expect(claimed.map(({ task }) => `${task.instanceId}/${task.taskId}`).toSorted()).toEqual(
      available,
    )
    expect(await other.claimAvailableTasks(params)).toEqual([])
    expect(await backend.claimAvailableTasks({ ...params, workerId: 'w2' })).toEqual([])
    expect(await found(backend)).toEqual([])
    for (const { claim: won, head } of claimed) {
      expect(won).toMatchObject({ workerId: WORKER, expiresAt: won.claimedAt + LONG_MS })
      // Each is a claim like any other.
      expect(await backend.renewTaskClaim(won, LONG_MS)).toMatchObject({ token: won.token })
      const stored = await backend.loadSnapshot(won.instanceId)
      expect(plain(head)).toEqual(plain(toHead(stored)))
      expect('completedTasks' in head.state).toBe(false)
    }
  }),

  rule('D1', 'never more than the limit', async (t) => {
    const backend = await t.open()
    expect(await found(backend)).toEqual([])
    for (const index of [0, 1, 2]) await backend.saveSnapshot(atTask(`i${index}`))
    await backend.saveSnapshot(atFork('fork', ['x', 'y']))
    const all = await found(backend)
    expect(all).toHaveLength(5)
    for (const limit of [1, 2, 4, 5, 6, 1000]) {
      const some = await found(backend, { limit })
      if (t.capabilities.order === 'global') expect(some).toEqual(all.slice(0, limit))
      else expect(some).toHaveLength(Math.min(limit, 5))
    }
    const claimed: string[] = []
    for (const [limit, count] of [
      [1, 1],
      [3, 3],
      [10, 1],
      [10, 0],
    ] as const) {
      const tasks = await backend.claimAvailableTasks({ workerId: WORKER, limit, ttlMs: LONG_MS })
      expect(tasks).toHaveLength(count)
      claimed.push(...tasks.map(({ task }) => `${task.instanceId}/${task.taskId}`))
    }
    expect(claimed.toSorted()).toEqual(all.toSorted())
  }),

  rule('D1', 'a thousand tasks at once', async (t) => {
    const backend = await t.open()
    const ids = Array.from({ length: 600 }, (_, index) => `t${index}`)
    await backend.saveSnapshot(atFork('i', ids))
    await backend.saveSnapshot(atFork('j', ids))
    const all = await found(backend, { limit: 1000 })
    expect(all).toHaveLength(1000)
    expect(new Set(all).size).toBe(1000)
    expect(await found(backend, { limit: 999 })).toHaveLength(999)
  }),

  rule('D1', 'a task is no longer found as soon as a call has made it so', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(other, 'i')
    expect(await found(backend)).toEqual([])
    await backend.releaseTaskClaim(held)
    expect(await found(other)).toEqual(['i/a'])
    await other.saveSnapshot(atTask('i', 'b'))
    expect(await found(backend)).toEqual(['i/b'])
    await run(backend, 'i', 'b', 'out', toTask('c'))
    expect(await found(other)).toEqual(['i/c'])
    await other.deleteSnapshot('i')
    expect(await found(backend)).toEqual([])
  }),
]

const FILTERS: readonly [WorkerFilter, string][] = [
  [{}, 'none a b ab abc other'],
  [{ tags: [] }, 'none other'],
  [{ tags: ['a'] }, 'none a other'],
  [{ tags: ['b'] }, 'none b other'],
  [{ tags: ['A'] }, 'none other'],
  [{ tags: ['b', 'a'] }, 'none a b ab other'],
  [{ tags: ['a', 'a', 'b', 'a'] }, 'none a b ab other'],
  [{ tags: ['x', 'c', 'b', 'y', 'a'] }, 'none a b ab abc other'],
  [{ tags: Array.from({ length: 40 }, (_, index) => `x${index}`).concat('a') }, 'none a other'],
  [{ definitionHashes: [] }, ''],
  [{ definitionHashes: ['definition-1'] }, 'none a b ab abc'],
  [{ definitionHashes: ['definition-2', 'unknown', 'definition-2'] }, 'other'],
  [{ definitionHashes: ['definition-1', 'definition-2'], tags: ['a'] }, 'none a other'],
  [{ definitionHashes: ['definition-2'], tags: ['a'] }, 'other'],
  [{ definitionHashes: ['definition'], tags: ['a'] }, ''],
]

async function saveTagged(backend: PersistentBackend): Promise<void> {
  for (const [instanceId, tags] of Object.entries({
    none: [],
    a: ['a'],
    b: ['b'],
    ab: ['a', 'b'],
    abc: ['c', 'a', 'b', 'a'],
  })) {
    await backend.saveSnapshot(atTask(instanceId, 'task', { tags }))
  }
  await backend.saveSnapshot(atTask('other', 'task', { definitionHash: 'definition-2' }))
}

function expected(instances: string): string[] {
  return instances === ''
    ? []
    : instances
        .split(' ')
        .map((instanceId) => `${instanceId}/task`)
        .toSorted()
}

/** Rule D3. */
const filters: readonly ContractTest[] = [
  rule('D3', 'a worker finds what its tags and definitions allow', async (t) => {
    const backend = await t.open()
    await saveTagged(backend)
    for (const [filter, instances] of FILTERS) {
      const tasks = await found(backend, filter)
      expect(tasks.toSorted(), JSON.stringify(filter)).toEqual(expected(instances))
    }
  }),

  rule('D3', 'a worker claims what its tags and definitions allow', async (t) => {
    const backend = await t.open()
    await saveTagged(backend)
    for (const [filter, instances] of FILTERS) {
      const claimed = await backend.claimAvailableTasks({
        workerId: WORKER,
        limit: 10,
        ttlMs: LONG_MS,
        ...filter,
      })
      const tasks = claimed.map(({ task }) => `${task.instanceId}/${task.taskId}`)
      expect(tasks.toSorted(), JSON.stringify(filter)).toEqual(expected(instances))
      for (const one of claimed) await backend.releaseTaskClaim(one.claim)
    }
  }),

  rule('D3', 'what is not for the worker takes no room of its limit', async (t) => {
    const backend = await t.open()
    const definitionHash = 'definition-2'
    for (let index = 0; index < 10; index += 1) {
      await backend.saveSnapshot(atTask(`tagged${index}`, 'a', { tags: ['x'], priority: 1 }))
      await backend.saveSnapshot(atTask(`other${index}`, 'a', { definitionHash, priority: 1 }))
    }
    await backend.saveSnapshot(atTask('mine', 'a', { priority: 5 }))
    const filter = { tags: ['y'], definitionHashes: ['definition-1'] }
    expect(await found(backend, { limit: 1, ...filter })).toEqual(['mine/a'])
    const claimed = await backend.claimAvailableTasks({
      workerId: WORKER,
      limit: 1,
      ttlMs: LONG_MS,
      ...filter,
    })
    expect(claimed.map(({ task }) => task.instanceId)).toEqual(['mine'])
  }),

  rule('D3', 'each task of a fork has its own tags, a join and a retry theirs', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(
      atFork('i', ['x', { taskId: 'y', tags: ['gpu'] }], { tags: ['of the fork'] }),
    )
    expect(await found(backend, { tags: [] })).toEqual(['i/x'])
    expect((await found(backend, { tags: ['gpu'] })).toSorted()).toEqual(['i/x', 'i/y'])
    await backend.saveSnapshot(atTask('r', 'a', { tags: ['gpu'], definitionHash: 'd2' }))
    const held = await claim(backend, 'r')
    await backend.commitTask({ claim: held, outcome: { kind: 'retry', error: 'e', delayMs: 0 } })
    expect(await found(backend, { tags: [], definitionHashes: ['d2'] })).toEqual([])
    expect(await found(backend, { tags: ['gpu'], definitionHashes: ['d2'] })).toEqual(['r/a'])
  }),

  rule('D3', 'tags and definitions follow what is saved', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i', 'a', { tags: ['x'] }))
    await backend.saveSnapshot(atTask('i', 'a', { tags: ['y'], definitionHash: 'd2' }))
    expect(await found(backend, { tags: ['x'] })).toEqual([])
    expect(await found(backend, { tags: ['y'], definitionHashes: ['definition-1'] })).toEqual([])
    expect(await found(backend, { tags: ['y'], definitionHashes: ['d2'] })).toEqual(['i/a'])
    await run(backend, 'i', 'a', 'out', toTask('b'))
    expect(await found(backend, { tags: [] })).toEqual(['i/b'])
  }),
]

/** Rule D5. */
const draining: readonly ContractTest[] = [
  rule('D5', 'eight workers drain a hundred tasks: each once, none skipped', async (t) => {
    const backends = await t.openMany(4)
    const [first] = backends as [PersistentBackend]
    const ids = Array.from({ length: 100 }, (_, index) => `i${index}`)
    await Promise.all(
      ids.map((instanceId, index) =>
        first.saveSnapshot(atTask(instanceId, 'a', { priority: 1 + (index % 5) })),
      ),
    )
    const taken = await together(8, async (index) => {
      const backend = backends[index % 4] as PersistentBackend
      const mine: string[] = []
      for (;;) {
        const claimed = await backend.claimAvailableTasks({
          workerId: `w${index}`,
          limit: 1 + index,
          ttlMs: LONG_MS,
        })
        if (claimed.length === 0) return mine
        mine.push(...claimed.map(({ task }) => task.instanceId))
        if (mine.length > ids.length) expect.fail('a worker got a task more than once')
      }
    })
    expect(taken.flat().toSorted()).toEqual(ids.toSorted())
  }),

  rule('D5', 'callers that ask for all at once get each task once', async (t) => {
    const backends = await t.openMany(4)
    const [first] = backends as [PersistentBackend]
    const ids = Array.from({ length: 30 }, (_, index) => `t${index}`)
    await first.saveSnapshot(atFork('i', ids))
    const byTask = ids.slice(0, 15).map((taskId) => ({
      instanceId: 'i',
      taskId,
      workerId: 'by-task',
      ttlMs: LONG_MS,
    }))
    const [batches, singles] = await Promise.all([
      together(10, (index) =>
        (backends[index % 4] as PersistentBackend).claimAvailableTasks({
          workerId: `w${index}`,
          limit: 1000,
          ttlMs: LONG_MS,
        }),
      ),
      Promise.all(byTask.map((params) => first.claimTask(params))),
    ])
    const taken = [
      ...batches.flat().map(({ task }) => task.taskId),
      ...singles.filter((won) => won !== null).map(({ taskId }) => taskId),
    ]
    expect(taken.toSorted()).toEqual(ids.toSorted())
  }),

  rule('D5', 'what one worker let expire comes to another', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    await backend.saveSnapshot(atFork('i', ['x', 'y', 'z']))
    const params = { workerId: WORKER, limit: 10, ttlMs: SHORT_MS }
    expect(await backend.claimAvailableTasks(params)).toHaveLength(3)
    await t.elapse(SHORT_MS)
    const claimed = await other.claimAvailableTasks({ ...params, workerId: 'w2', ttlMs: LONG_MS })
    expect(claimed.map(({ task }) => [task.taskId, task.deliveries, text(task.input)])).toEqual(
      expect.arrayContaining(['x', 'y', 'z'].map((taskId) => [taskId, 2, 'in'])),
    )
    expect(claimed).toHaveLength(3)
  }),
]

/** What is found and claimed, and by whom. */
export const dispatchTests: readonly ContractTest[] = [...availability, ...filters, ...draining]
