import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { NextPendingTask } from '../position.ts'
import { bytes, type ContractTest, refused, rule, text } from './context.ts'
import { at, atFork, atTask, claim, found, toEnd, toTask } from './fixtures.ts'
import {
  CLAIM_NEXT,
  commit,
  outputsOf,
  placeOf,
  positionIn,
  run,
  tasksOf,
  toBranch,
  together,
} from './steps.ts'

const PAST = 1000

/** Commits task `a` of a new instance so that it goes on at a fork. */
async function enterFork(
  backend: PersistentBackend,
  instanceId: string,
  pendingTasks: readonly NextPendingTask[],
  join: { taskId: string; priority?: number; tags?: readonly string[] } = { taskId: 'join' },
): Promise<void> {
  await backend.saveSnapshot(atTask(instanceId))
  await run(backend, instanceId, 'a', 'from a', {
    position: { kind: 'at-fork', forkId: 'fork', pendingTasks, join },
  })
}

/** Rules F1 and F2: entering a fork, leaving it. */
const entering: readonly ContractTest[] = [
  rule('F1', 'a task inside a fork is committed with { branch } and nothing else', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', ['x', 'y']))
    const held = await claim(backend, 'i', 'x')
    await refused(() => commit(backend, held, 'out', toTask('b')), TypeError)
    await refused(() => commit(backend, held, 'out', toEnd('end')), TypeError)
    await refused(() => commit(backend, held, 'out', toBranch('y')), TypeError)
    await refused(
      () => commit(backend, held, 'out', toBranch({ taskId: 'x2', branch: 'y' })),
      TypeError,
    )
    const after = await backend.loadSnapshot('i')
    expect(after.revision).toBe(1)
    expect(outputsOf(after)).toEqual([])
    expect(await found(backend)).toEqual(['i/y'])
    expect(await commit(backend, held, 'out', toBranch(null))).toMatchObject({ revision: 2 })
  }),

  rule('F1', 'a task outside a fork is never committed with { branch }', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('task'))
    await backend.saveSnapshot(
      at('join', { kind: 'at-join', joinId: 'a', completedBranches: new Map() }),
    )
    for (const instanceId of ['task', 'join']) {
      const held = await claim(backend, instanceId)
      await refused(() => commit(backend, held, 'out', toBranch(null)), TypeError)
      await refused(() => commit(backend, held, 'out', toBranch('b')), TypeError)
      expect((await backend.loadSnapshot(instanceId)).revision).toBe(1)
      expect(await commit(backend, held, 'out', toTask('b'))).toMatchObject({ revision: 2 })
    }
  }),

  rule('F1', 'every pending task is available on its own, to different workers', async (t) => {
    const [one, two, three] = await t.openMany(3)
    if (one === undefined || two === undefined || three === undefined) expect.fail()
    await enterFork(one, 'i', [{ taskId: 'x' }, { taskId: 'y' }, { taskId: 'z' }])
    expect((await found(two)).toSorted()).toEqual(['i/x', 'i/y', 'i/z'])
    const claims = await Promise.all([
      claim(one, 'i', 'x', { workerId: 'w1' }),
      claim(two, 'i', 'y', { workerId: 'w2' }),
      claim(three, 'i', 'z', { workerId: 'w3' }),
    ])
    expect(claims.map(({ taskId, workerId }) => `${taskId} ${workerId}`)).toEqual([
      'x w1',
      'y w2',
      'z w3',
    ])
    expect(await found(two)).toEqual([])
  }),

  rule('F1', 'a fork that is saved is as good as one that is committed', async (t) => {
    const backend = await t.open()
    const snapshot = atFork('i', [
      'x',
      { taskId: 'y', branch: 'why', inputTaskId: 'b', priority: 1, tags: ['gpu'] },
      { taskId: 'z', inputTaskId: 'nobody' },
      { taskId: 'past', availableAt: PAST },
    ])
    const completedTasks = new Map(
      ['b', 'c'].map((id) => [id, { taskId: id, output: bytes(`from ${id}`) }]),
    )
    await backend.saveSnapshot({
      ...snapshot,
      state: { ...snapshot.state, completedTasks, lastCompletedTaskId: 'c' },
    } as typeof snapshot)
    const tasks = await tasksOf(backend, 'i')
    expect([...tasks.keys()].toSorted()).toEqual(['past', 'x', 'y', 'z'])
    expect(text(tasks.get('x')?.input)).toBe('from c')
    expect(text(tasks.get('y')?.input)).toBe('from b')
    // Where the task named has no result, the initial input.
    expect(text(tasks.get('z')?.input)).toBe('in')
    expect(tasks.get('y')).toMatchObject({ priority: 1, tags: ['gpu'] })
    expect(tasks.get('x')).toMatchObject({ priority: 3, tags: [] })
    await run(backend, 'i', 'y', 'Y', toBranch(null))
    expect(await positionIn(backend, 'i')).toMatchObject({
      completedBranches: new Map([['why', { taskId: 'y', output: bytes('Y') }]]),
    })
  }),

  rule('F2', 'twenty branches that commit at the same moment lose nothing', async (t) => {
    const backends = await t.openMany(4)
    const of = (index: number) => backends[index % backends.length] as PersistentBackend
    const ids = Array.from({ length: 20 }, (_, index) => `task-${index}`)
    await enterFork(
      of(0),
      'i',
      ids.map((taskId) => ({ taskId })),
    )
    const claims = await Promise.all(ids.map((id, index) => claim(of(index), 'i', id)))
    const receipts = await Promise.all(
      claims.map((held, index) =>
        commit(of(index + 1), held, `out ${held.taskId}`, toBranch(null)),
      ),
    )
    // Each commit is a change of its own: revisions 3 to 22, in some order.
    expect(receipts.map(({ revision }) => revision).toSorted((a, b) => a - b)).toEqual(
      ids.map((_, index) => index + 3),
    )
    const snapshot = await of(0).loadSnapshot('i')
    expect(new Map(outputsOf(snapshot))).toEqual(
      new Map([['a', 'from a'], ...ids.map((id): [string, string] => [id, `out ${id}`])]),
    )
    const branches = new Map(ids.map((id) => [id, { taskId: id, output: bytes(`out ${id}`) }]))
    expect(placeOf(snapshot)).toEqual({
      kind: 'at-join',
      joinId: 'join',
      completedBranches: branches,
    })

    const [task] = (await tasksOf(of(1), 'i')).values()
    expect(task?.input).toHaveLength(0)
    expect(new Map(task?.branches)).toEqual(branches)
    const won = await together(20, (index) =>
      of(index).claimAvailableTasks({ workerId: `w${index}`, limit: 5, ttlMs: 60_000 }),
    )
    expect(won.flat().map((claimed) => claimed.task.taskId)).toEqual(['join'])
  }),

  rule(
    'F2',
    'of branches that commit at once and claim the next task, one gets the join',
    async (t) => {
      const backends = await t.openMany(3)
      const of = (index: number) => backends[index % backends.length] as PersistentBackend
      const ids = Array.from({ length: 12 }, (_, index) => `task-${index}`)
      await of(0).saveSnapshot(atFork('i', ids))
      const claims = await Promise.all(
        ids.map((id, index) => claim(of(index), 'i', id, { workerId: `w${index}` })),
      )
      const receipts = await Promise.all(
        claims.map((held, index) =>
          commit(of(index), held, held.taskId, toBranch(null), CLAIM_NEXT),
        ),
      )
      const next = receipts.flatMap((receipt) => receipt.next ?? [])
      expect(next.map(({ task }) => task.taskId)).toEqual(['join'])
      expect(next[0]?.task.branches.size).toBe(12)
      expect(next[0]?.task.input).toHaveLength(0)
      expect(await found(of(1))).toEqual([])
    },
  ),

  rule('F2', 'the join has its own priority and tags, and no input but the branches', async (t) => {
    const backend = await t.open()
    await enterFork(
      backend,
      'i',
      [
        { taskId: 'x', priority: 5, tags: ['cpu'] },
        { taskId: 'y', branch: 'other' },
      ],
      {
        taskId: 'sum',
        priority: 2,
        tags: ['gpu', 'big'],
      },
    )
    await run(backend, 'i', 'y', 'Y', toBranch(null))
    await run(backend, 'i', 'x', 'X', toBranch(null))
    const snapshot = await backend.loadSnapshot('i')
    expect(snapshot).toMatchObject({ priority: 2, tags: ['gpu', 'big'] })
    const tasks = await tasksOf(backend, 'i')
    const join = tasks.get('sum')
    expect(join).toMatchObject({ priority: 2, tags: ['gpu', 'big'], attempt: 1, deliveries: 0 })
    expect(join?.input).toHaveLength(0)
    expect(
      [...(join?.branches ?? [])]
        .map(([label, one]) => [label, one.taskId, text(one.output)])
        .toSorted(),
    ).toEqual([
      ['other', 'y', 'Y'],
      ['x', 'x', 'X'],
    ])
    expect(await found(backend, { tags: ['gpu'] })).toEqual([])
    await run(backend, 'i', 'sum', 'total', toTask('after'))
    const after = (await tasksOf(backend, 'i')).get('after')
    expect(text(after?.input)).toBe('total')
    expect(after?.branches.size).toBe(0)
  }),

  rule(
    'F2',
    "a branch's result stays in the join when its task's result is replaced",
    async (t) => {
      const backend = await t.open()
      await enterFork(backend, 'i', [{ taskId: 'x' }, { taskId: 'y' }])
      await run(backend, 'i', 'x', 'X', toBranch(null))
      await backend.saveTaskResult({
        instanceId: 'i',
        taskId: 'x',
        output: bytes('replaced early'),
      })
      await run(backend, 'i', 'y', 'Y', toBranch(null))
      await backend.saveTaskResult({ instanceId: 'i', taskId: 'y', output: bytes('replaced late') })
      const join = (await tasksOf(backend, 'i')).get('join')
      expect([...(join?.branches ?? [])].map(([label, one]) => [label, text(one.output)])).toEqual([
        ['x', 'X'],
        ['y', 'Y'],
      ])
      expect(join?.input).toHaveLength(0)
      expect(text(await backend.loadTaskResult('i', 'y'))).toBe('replaced late')
    },
  ),

  rule('F2', 'a fork over nothing goes to its join, or waits where it has none', async (t) => {
    const backend = await t.open()
    await enterFork(backend, 'joined', [], { taskId: 'join', tags: ['gpu'] })
    const join = (await tasksOf(backend, 'joined')).get('join')
    expect(join).toMatchObject({ tags: ['gpu'], branches: new Map() })
    expect(join?.input).toHaveLength(0)
    await backend.saveSnapshot(atTask('alone'))
    await run(backend, 'alone', 'a', '', {
      position: { kind: 'at-fork', forkId: 'fork', pendingTasks: [], join: null },
    })
    expect(await positionIn(backend, 'alone')).toMatchObject({ kind: 'at-fork', pendingTasks: [] })
    expect(await found(backend)).toEqual(['joined/join'])
  }),
]

/** Rule F2, over rounds: a fork inside a loop starts afresh each time. */
const looping: readonly ContractTest[] = [
  rule('F2', 'a fork inside a loop starts afresh in each round', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i', 'split'))
    const fork = {
      kind: 'at-fork',
      forkId: 'fork',
      pendingTasks: [{ taskId: 'x' }, { taskId: 'y' }],
      join: { taskId: 'join' },
    } as const
    for (const round of [1, 2, 3]) {
      await run(backend, 'i', 'split', `split ${round}`, { position: fork })
      const tasks = await tasksOf(backend, 'i')
      expect([...tasks.keys()].toSorted()).toEqual(['x', 'y'])
      for (const task of tasks.values()) {
        expect(text(task.input)).toBe(`split ${round}`)
        expect(task).toMatchObject({ attempt: 1, deliveries: 0 })
      }
      expect(await positionIn(backend, 'i')).toMatchObject({ completedBranches: new Map() })
      const last = await claim(backend, 'i', 'y')
      await run(backend, 'i', 'x', `x ${round}`, toBranch(null))
      expect([...(await tasksOf(backend, 'i')).keys()]).toEqual([])
      await commit(backend, last, `y ${round}`, toBranch(null))
      const join = (await tasksOf(backend, 'i')).get('join')
      expect(
        [...(join?.branches ?? [])].map(([label, one]) => [label, text(one.output)]).toSorted(),
      ).toEqual([
        ['x', `x ${round}`],
        ['y', `y ${round}`],
      ])
      await run(backend, 'i', 'join', `join ${round}`, {
        position: { kind: 'in-loop', loopId: 'loop', iteration: round, nextTaskId: 'split' },
      })
      const snapshot = await backend.loadSnapshot('i')
      expect(snapshot.loopIterations.get('loop')).toBe(round)
      expect(outputsOf(snapshot).map(([id]) => id)).toEqual(['split', 'x', 'y', 'join'])
      expect(text((await tasksOf(backend, 'i')).get('split')?.input)).toBe(`join ${round}`)
    }
  }),

  rule('F2', 'a branch that runs the task of a finished one leaves that its result', async (t) => {
    const backend = await t.open()
    for (const length of [1, 400]) {
      const id = `i-${length}`
      await backend.saveSnapshot(atFork(id, ['x', 'y']))
      await run(backend, id, 'x', 'x'.repeat(length), toBranch(null))
      await run(backend, id, 'y', 'y'.repeat(length), toBranch('x'))
      await run(backend, id, 'x', 'z'.repeat(length), toBranch(null))
      const { branches = new Map() } = (await tasksOf(backend, id)).get('join') ?? {}
      expect([...branches].map(([label, { output }]) => [label, text(output)])).toEqual([
        ['x', 'x'.repeat(length)],
        ['y', 'z'.repeat(length)],
      ])
      expect(text(await backend.loadTaskResult(id, 'x'))).toBe('z'.repeat(length))
    }
  }),
]

/** Rules F1 and F2: forks, their branches and their join. */
export const forkTests: readonly ContractTest[] = [...entering, ...looping]
