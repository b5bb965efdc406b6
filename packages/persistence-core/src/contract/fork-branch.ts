import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { bytes, type ContractTest, failure, rule, text } from './context.ts'
import { atFork, atTask, claim, found, LONG_MS, SHORT_MS } from './fixtures.ts'
import { CLAIM_NEXT, commit, placeOf, positionIn, run, tasksOf, toBranch } from './steps.ts'

async function inputOf(backend: PersistentBackend, taskId: string): Promise<string | null> {
  return text((await tasksOf(backend, 'i')).get(taskId)?.input)
}

/** Rule F3: what a branch can be by itself. */
export const forkBranchTests: readonly ContractTest[] = [
  rule('F3', "a branch of several tasks passes its own outputs on, not its sisters'", async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', ['x1', 'y1']))
    const sister = await claim(backend, 'i', 'y1')
    await run(backend, 'i', 'x1', 'X1', toBranch({ taskId: 'x2', priority: 1, tags: ['gpu'] }))
    await commit(backend, sister, 'Y1', toBranch('y2'))
    expect(await inputOf(backend, 'x2')).toBe('X1')
    expect(await inputOf(backend, 'y2')).toBe('Y1')
    expect((await tasksOf(backend, 'i')).get('x2')).toMatchObject({ priority: 1, tags: ['gpu'] })
    await run(backend, 'i', 'y2', 'Y2', toBranch(null))
    expect(await inputOf(backend, 'x2')).toBe('X1')
    await run(backend, 'i', 'x2', 'X2', toBranch(null))
    // The branch keeps the label of its first task; its result is that of its last one.
    expect(await positionIn(backend, 'i')).toEqual({
      kind: 'at-join',
      joinId: 'join',
      completedBranches: new Map([
        ['y1', { taskId: 'y2', output: bytes('Y2') }],
        ['x1', { taskId: 'x2', output: bytes('X2') }],
      ]),
    })
  }),

  rule(
    'F3',
    "the first tasks' input is the output before the fork, whatever a sister did",
    async (t) => {
      const backend = await t.open()
      await backend.saveSnapshot(atTask('i'))
      await run(backend, 'i', 'a', 'from a', {
        position: {
          kind: 'at-fork',
          forkId: 'fork',
          pendingTasks: [{ taskId: 'x' }, { taskId: 'y' }, { taskId: 'z', inputTaskId: 'x' }],
          join: { taskId: 'join' },
        },
      })
      await run(backend, 'i', 'x', 'from x', toBranch(null))
      expect(await inputOf(backend, 'y')).toBe('from a')
      expect(await inputOf(backend, 'z')).toBe('from x')
      await backend.saveTaskResult({ instanceId: 'i', taskId: 'y', output: bytes('half of y') })
      expect(await inputOf(backend, 'y')).toBe('from a')
      const claimed = await backend.claimAvailableTasks({ workerId: 'w', limit: 5, ttlMs: LONG_MS })
      expect(claimed.map(({ task }) => [task.taskId, text(task.input)]).toSorted()).toEqual([
        ['y', 'from a'],
        ['z', 'from x'],
      ])
    },
  ),

  rule('F3', 'without a task before it, a saved fork starts with the initial input', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', ['x', 'y']))
    await run(backend, 'i', 'x', 'from x', toBranch(null))
    expect(await inputOf(backend, 'y')).toBe('in')
    await backend.saveSnapshot(atFork('none', ['x', 'y'], { initialInput: null }))
    expect((await tasksOf(backend, 'none')).get('x')?.input).toHaveLength(0)
  }),

  rule('F3', 'a branch waits on its own', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', ['x', 'y', 'z']))
    await run(backend, 'i', 'x', 'X', toBranch({ taskId: 'x2', delayMs: LONG_MS }))
    await run(backend, 'i', 'y', 'Y', toBranch({ taskId: 'y2', delayMs: SHORT_MS }))
    const { pendingTasks, updatedAt } = await backend.loadSnapshot('i').then((snapshot) => {
      const position = placeOf(snapshot)
      if (position.kind !== 'at-fork') expect.fail(`expected a fork, got ${position.kind}`)
      return { pendingTasks: position.pendingTasks, updatedAt: snapshot.updatedAt }
    })
    expect(pendingTasks.find(({ taskId }) => taskId === 'y2')?.availableAt).toBe(
      updatedAt + SHORT_MS,
    )
    const claimX2 = { instanceId: 'i', taskId: 'x2', workerId: 'w', ttlMs: LONG_MS }
    expect(await backend.claimTask(claimX2)).toBeNull()
    await run(backend, 'i', 'z', 'Z', toBranch(null))
    await t.elapse(SHORT_MS)
    expect(await found(backend)).toEqual(['i/y2'])
    expect((await tasksOf(backend, 'i')).get('y2')).toMatchObject({
      availableSince: updatedAt + SHORT_MS,
      input: bytes('Y'),
    })
    await run(backend, 'i', 'y2', 'Y2', toBranch(null))
    expect(await found(backend)).toEqual([])
    expect(await backend.claimTask(claimX2)).toBeNull()
    expect(await positionIn(backend, 'i')).toMatchObject({ kind: 'at-fork' })
  }),

  rule('F3', 'a branch retries on its own', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', ['x', 'y']))
    const held = await claim(backend, 'i', 'x')
    const retry = { kind: 'retry', error: 'boom', delayMs: 0 } as const
    expect((await backend.commitTask({ claim: held, outcome: retry })).status).toBe('in-progress')
    const tasks = await tasksOf(backend, 'i', 'another')
    expect(tasks.get('x')).toMatchObject({ attempt: 2, deliveries: 1 })
    expect(tasks.get('y')).toMatchObject({ attempt: 1, deliveries: 0 })
    expect(text(tasks.get('x')?.input)).toBe('in')
    await run(backend, 'i', 'y', 'Y', toBranch(null))
    expect((await tasksOf(backend, 'i')).get('x')).toMatchObject({ attempt: 2 })
    await run(backend, 'i', 'x', 'X', toBranch(null))
    const snapshot = await backend.loadSnapshot('i')
    expect(snapshot.retries.size).toBe(0)
    expect(placeOf(snapshot)).toMatchObject({ kind: 'at-join' })
    expect((await tasksOf(backend, 'i')).get('join')).toMatchObject({ attempt: 1, deliveries: 0 })
  }),

  rule('F3', 'a branch that waits for its retry does not hold its sisters back', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', ['x', 'y', 'z']))
    const sister = await claim(backend, 'i', 'y')
    const outcome = { kind: 'retry', error: 'boom', delayMs: LONG_MS } as const
    await backend.commitTask({ claim: await claim(backend, 'i', 'x'), outcome })
    expect(await found(backend)).toEqual(['i/z'])
    await commit(backend, sister, 'Y', toBranch('y2'))
    expect((await found(backend)).toSorted()).toEqual(['i/y2', 'i/z'])
  }),

  rule('F3', 'a branch has tags and a priority of its own', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(
      atFork(
        'i',
        [
          { taskId: 'plain' },
          { taskId: 'gpu', tags: ['gpu'] },
          { taskId: 'both', tags: ['gpu', 'eu'], priority: 1 },
        ],
        // The current task's own: a fork has none.
        { tags: ['never'], priority: 5 },
      ),
    )
    expect(await found(backend, { tags: [] })).toEqual(['i/plain'])
    expect((await found(backend, { tags: ['gpu'] })).toSorted()).toEqual(['i/gpu', 'i/plain'])
    expect((await found(backend, { tags: ['eu', 'gpu'] })).at(0)).toBe('i/both')
    await run(backend, 'i', 'gpu', '', toBranch('gpu-2'))
    expect(await found(backend, { tags: [] })).toEqual(
      expect.arrayContaining(['i/gpu-2', 'i/plain']),
    )
  }),

  rule('F3', 'a branch that fails fails the instance, and its sisters come too late', async (t) => {
    const backend = await t.open()
    for (const instanceId of ['failed', 'exhausted']) {
      await backend.saveSnapshot(atFork(instanceId, ['x', 'y', 'z']))
      const sister = await claim(backend, instanceId, 'y', { workerId: 'w2' })
      const held = await claim(backend, instanceId, 'x')
      await run(backend, instanceId, 'z', 'Z', toBranch(null))
      const receipt = await backend.commitTask({
        claim: held,
        outcome:
          instanceId === 'failed'
            ? { kind: 'failed', error: 'boom' }
            : { kind: 'retry', error: 'boom', delayMs: 0, maxAttempts: 1 },
        claimNext: CLAIM_NEXT,
      })
      expect(receipt).toEqual({ revision: 3, status: 'failed', next: null })
      const error = await failure(commit(backend, sister, 'Y', toBranch(null)), 'TERMINAL')
      expect(error.instanceId).toBe(instanceId)
      const { state, revision } = await backend.loadSnapshot(instanceId)
      expect(state).toMatchObject({ status: 'failed', error: 'boom' })
      expect([...state.completedTasks.keys()]).toEqual(['z'])
      expect(revision).toBe(3)
    }
    expect(await found(backend)).toEqual([])
  }),

  rule('F3', 'a branch may run a task again, which starts anew', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', [{ taskId: 'x', branch: 'left' }, 'y']))
    const first = await claim(backend, 'i', 'x')
    await backend.releaseTaskClaim(first)
    const second = await claim(backend, 'i', 'x')
    await commit(backend, second, 'round 1', toBranch('x'))
    const again = (await tasksOf(backend, 'i')).get('x')
    expect(again).toMatchObject({ attempt: 1, deliveries: 0, input: bytes('round 1') })
    await failure(backend.renewTaskClaim(second, LONG_MS), 'CLAIM_LOST')
    await run(backend, 'i', 'x', 'round 2', toBranch(null))
    expect(await positionIn(backend, 'i')).toMatchObject({
      completedBranches: new Map([['left', { taskId: 'x', output: bytes('round 2') }]]),
    })
  }),

  rule('F3', "a sister's claim and place in the queue stay when a branch moves on", async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('i', ['x', 'y', 'z']))
    const since = (await tasksOf(backend, 'i')).get('z')?.availableSince
    const sister = await claim(backend, 'i', 'y', { workerId: 'w2' })
    await t.elapse(5)
    await run(backend, 'i', 'x', 'X', toBranch('x2'))
    const tasks = await tasksOf(backend, 'i')
    expect([...tasks.keys()].toSorted()).toEqual(['x2', 'z'])
    expect(tasks.get('z')?.availableSince).toBe(since)
    expect(tasks.get('x2')?.availableSince).toBeGreaterThan(since ?? Infinity)
    await commit(backend, sister, 'Y', toBranch(null))
  }),

  rule('F3', 'claiming the next task prefers the fork that the worker is in', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('older', 'a', { priority: 1 }))
    await backend.saveSnapshot(atFork('i', ['x', 'y']))
    const held = await claim(backend, 'i', 'x')
    const { next } = await commit(backend, held, 'X', toBranch(null), CLAIM_NEXT)
    expect(next?.task).toMatchObject({ instanceId: 'i', taskId: 'y' })
    if (next == null) expect.fail('expected the sister')
    const last = await commit(backend, next.claim, 'Y', toBranch(null), CLAIM_NEXT)
    expect(last.next?.task).toMatchObject({ instanceId: 'i', taskId: 'join' })
  }),
]
