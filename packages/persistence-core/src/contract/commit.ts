import { expect } from 'vitest'
import type { NextPosition, Position } from '../position.ts'
import type { WorkflowSnapshot } from '../snapshot.ts'
import type { CommitReceipt } from '../task-claim-store.ts'
import { completeTask } from '../transitions.ts'
import { bytes, type ContractTest, failure, refused, rule } from './context.ts'
import { atFork, atTask, claim, found, LONG_MS, toEnd, toTask } from './fixtures.ts'
import { CLAIM_NEXT, commit, outputsOf, run, tasksOf } from './steps.ts'
import { unchanged } from './stored.ts'

/** An instance at task `a` with everything that a step may have, so that what is left behind shows. */
function laden(instanceId = 'i'): WorkflowSnapshot {
  return atTask(instanceId, 'a', {
    priority: 1,
    tags: ['old'],
    deadline: { taskId: 'a', deadlineAt: 5_000, timeoutMs: 10 },
    traceParent: '00-trace',
  })
}

/** What is stored for a committed position, reached at `at`. */
function stored(next: NextPosition, at: number): Position {
  switch (next.kind) {
    case 'at-delay':
      return {
        kind: 'at-delay',
        delayId: next.delayId,
        enteredAt: at,
        wakeAt: at + next.delayMs,
        nextTaskId: next.nextTaskId,
      }
    case 'at-signal':
      return {
        kind: 'at-signal',
        signalId: next.signalId,
        signalName: next.signalName,
        wakeAt: next.timeoutMs === null ? null : at + next.timeoutMs,
        nextTaskId: next.nextTaskId,
      }
    case 'at-fork':
      return {
        kind: 'at-fork',
        forkId: next.forkId,
        pendingTasks: [
          { inputTaskId: 'a', taskId: 'x', priority: 1, tags: ['gpu'], availableAt: at + 70_000 },
          { inputTaskId: 'z', taskId: 'y', branch: 'why' },
        ],
        join: next.join,
        completedBranches: new Map(),
        wakeAt: null,
      }
    default:
      return next
  }
}

const branches = new Map([['x', { taskId: 'x2', output: bytes('from x2') }]])
const signal = { kind: 'at-signal', signalId: 's', signalName: 'paid' } as const

const NEXT: readonly NextPosition[] = [
  { kind: 'not-started' },
  { kind: 'at-task', taskId: 'b' },
  { kind: 'at-delay', delayId: 'd', delayMs: 60_000, nextTaskId: 'b' },
  { kind: 'at-delay', delayId: 'd', delayMs: 90_000, nextTaskId: null },
  { ...signal, timeoutMs: 60_000, nextTaskId: 'b' },
  { ...signal, timeoutMs: null, nextTaskId: 'b' },
  { ...signal, timeoutMs: null, nextTaskId: null },
  {
    kind: 'at-fork',
    forkId: 'f',
    pendingTasks: [
      { taskId: 'x', priority: 1, tags: ['gpu'], delayMs: 70_000 },
      { taskId: 'y', branch: 'why', inputTaskId: 'z' },
    ],
    join: { taskId: 'j', priority: 2, tags: ['t'] },
  },
  { kind: 'at-fork', forkId: 'f', pendingTasks: [], join: null },
  { kind: 'at-join', joinId: 'j', completedBranches: branches },
  { kind: 'in-loop', loopId: 'l', iteration: 7, nextTaskId: 'b' },
  { kind: 'in-loop', loopId: 'l', iteration: 0, nextTaskId: null },
]

/** Rule D6: what a commit stores. */
const outcomes: readonly ContractTest[] = [
  rule('D6', 'a commit stores the output and moves to any kind of position', async (t) => {
    const backend = await t.open()
    for (const [index, position] of NEXT.entries()) {
      const instanceId = `i${index}`
      await backend.saveSnapshot(completeTask(laden(instanceId), 'z', bytes('from z')))
      const held = await claim(backend, instanceId)
      await t.elapse(1)
      const receipt = await commit(backend, held, 'from a', { position })
      expect(receipt).toEqual({ revision: 2, status: 'in-progress', next: null })
      const after = await backend.loadSnapshot(instanceId)
      expect(after.updatedAt).toBeGreaterThan(after.createdAt)
      const pendingTasks = position.kind === 'at-fork' ? position.pendingTasks : null
      expect(after).toEqual({
        ...laden(instanceId),
        revision: 2,
        createdAt: after.createdAt,
        updatedAt: after.updatedAt,
        priority: 3,
        tags: [],
        deadline: null,
        loopIterations: new Map(
          position.kind === 'in-loop' ? [[position.loopId, position.iteration]] : [],
        ),
        state: {
          status: 'in-progress',
          position:
            pendingTasks?.length === 0
              ? { ...position, completedBranches: new Map(), wakeAt: null }
              : stored(position, after.updatedAt),
          completedTasks: after.state.completedTasks,
          lastCompletedTaskId: 'a',
        },
      })
      expect(outputsOf(after)).toEqual([
        ['z', 'from z'],
        ['a', 'from a'],
      ])
    }
  }),

  rule('D6', 'the next task has the priority, tags and deadline that are given', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(laden())
    const deadline = { taskId: 'b', deadlineAt: 9_999, timeoutMs: 12 }
    const given = { priority: 5, tags: ['new', 'tags'], deadline }
    await run(backend, 'i', 'a', 'out', { ...toTask('b'), ...given })
    expect(await backend.loadSnapshot('i')).toMatchObject(given)
    const [task] = await backend.findAvailableTasks({ workerId: 'w', limit: 1 })
    expect(task).toMatchObject({ taskId: 'b', priority: 5, tags: ['new', 'tags'] })
    await run(backend, 'i', 'b', 'out', { ...toTask('c'), priority: null, deadline: null })
    const [next] = await backend.findAvailableTasks({ workerId: 'w', limit: 1 })
    expect(next).toMatchObject({ taskId: 'c', priority: 3, tags: [] })
    await run(backend, 'i', 'c', 'out', { ...toTask('d'), ...given })
    // What is left out is not inherited.
    await run(backend, 'i', 'd', 'out', toTask('e'))
    const bare = { priority: 3, tags: [], deadline: null }
    expect(await backend.loadSnapshot('i')).toMatchObject(bare)
    // Nor by the simplest of steps.
    await backend.saveSnapshot(atTask('plain', 'a', given))
    await run(backend, 'plain', 'a', 'out', toTask('b'))
    expect(await backend.loadSnapshot('plain')).toMatchObject(bare)
    const plain = (await tasksOf(backend, 'plain')).get('b')
    expect(plain).toMatchObject({ priority: 3, tags: [] })
  }),

  rule('D6', 'a commit can end the instance, with its result or an error', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(laden('done'))
    expect(await run(backend, 'done', 'a', 'from a', toEnd('the end'))).toEqual({
      revision: 2,
      status: 'completed',
      next: null,
    })
    const done = await backend.loadSnapshot('done')
    expect(done.state).toMatchObject({ status: 'completed', finalOutput: bytes('the end') })
    expect(outputsOf(done)).toEqual([['a', 'from a']])
    await backend.saveSnapshot(completeTask(laden('failed'), 'z', bytes('from z')))
    const held = await claim(backend, 'failed')
    const outcome = { kind: 'failed', error: 'no such file' } as const
    expect(await backend.commitTask({ claim: held, outcome })).toEqual({
      revision: 2,
      status: 'failed',
      next: null,
    })
    const failed = await backend.loadSnapshot('failed')
    expect(failed.state).toMatchObject({ status: 'failed', error: 'no such file' })
    expect(outputsOf(failed)).toEqual([['z', 'from z']])
    expect(await found(backend)).toEqual([])
  }),

  rule(
    'D6',
    'a task that is completed again replaces its output and moves to the end',
    async (t) => {
      const backend = await t.open()
      await backend.saveSnapshot(atTask('i'))
      await run(backend, 'i', 'a', 'first', toTask('b'))
      await run(backend, 'i', 'b', 'from b', toTask('a'))
      await run(backend, 'i', 'a', 'second', toTask('c'))
      expect(outputsOf(await backend.loadSnapshot('i'))).toEqual([
        ['b', 'from b'],
        ['a', 'second'],
      ])
    },
  ),

  rule('D6', 'each step’s output is the next one’s input', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    let { claim: held, task } = (
      await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: LONG_MS })
    )[0] as NonNullable<CommitReceipt['next']>
    for (const output of ['one', '', 'three']) {
      const { next } = await commit(backend, held, output, toTask('a'), CLAIM_NEXT)
      if (next === null) expect.fail('the next step should be claimed')
      ;({ claim: held, task } = next)
      expect(task.input).toEqual(bytes(output))
      expect(task).toMatchObject({ attempt: 1, deliveries: 1 })
    }
  }),

  rule('D6', 'the task is free again for whoever comes, and its claim is gone', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i', 'a', { ttlMs: null })
    await commit(backend, held, 'out', toTask('a'))
    expect(await found(backend)).toEqual(['i/a'])
    const next = await claim(backend, 'i', 'a', { workerId: 'w2' })
    expect(next.token).toBeGreaterThan(held.token)
  }),
]

/** Rule D6: a commit that is refused changes nothing. */
const refusals: readonly ContractTest[] = [
  rule('D6', 'a commit that is refused leaves claim and state', async (t) => {
    const backend = await t.open({ maxPayloadBytes: 100 })
    await backend.saveSnapshot(atTask('task'))
    await backend.saveSnapshot(atFork('fork', ['a', 'b']))
    const large = 'x'.repeat(101)
    const held = await claim(backend, 'task')
    const inFork = await claim(backend, 'fork')
    const before = [await backend.loadSnapshot('task'), await backend.loadSnapshot('fork')]
    await failure(commit(backend, held, large, toTask('b')), 'PAYLOAD_TOO_LARGE')
    await failure(commit(backend, held, 'out', toEnd(large)), 'PAYLOAD_TOO_LARGE')
    await refused(() => commit(backend, held, 'out', { branch: null }, CLAIM_NEXT), TypeError)
    await refused(() => commit(backend, inFork, 'out', toTask('c'), CLAIM_NEXT), TypeError)
    await refused(() => commit(backend, inFork, 'out', { branch: { taskId: 'b' } }), TypeError)
    for (const snapshot of before) await unchanged(backend, snapshot)
    expect(await found(backend)).toEqual(['fork/b'])
    for (const one of [held, inFork]) {
      expect(await backend.extendTaskClaim(one, 1)).toEqual({
        ...one,
        expiresAt: (one.expiresAt as number) + 1,
      })
    }
    // Exactly the limit is allowed.
    await commit(backend, held, 'x'.repeat(100), toEnd('y'.repeat(100)))
    await commit(backend, inFork, 'out', { branch: null })
  }),

  rule('D6', 'a refused commit claims nothing either', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.saveSnapshot(atTask('other'))
    const held = await claim(backend, 'i')
    const stale = { ...held, token: held.token + 1 }
    await failure(commit(backend, stale, 'out', toTask('b'), CLAIM_NEXT), 'CLAIM_LOST')
    await failure(
      commit(backend, { ...held, instanceId: 'no' }, 'out', toTask('b'), CLAIM_NEXT),
      'NOT_FOUND',
    )
    expect(await found(backend)).toEqual(['other/a'])
  }),
]

/** What a commit stores, and what it refuses. */
export const commitTests: readonly ContractTest[] = [...outcomes, ...refusals]
