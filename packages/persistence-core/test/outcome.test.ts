import { describe, expect, test } from 'vitest'
import { bytes } from '../src/contract/context.ts'
import { at, atFork, atTask, completed, toEnd, toTask } from '../src/contract/fixtures.ts'
import { placeOf, toBranch } from '../src/contract/steps.ts'
import { applyOutcome } from '../src/outcome.ts'
import type { NextPendingTask, NextPosition } from '../src/position.ts'
import { toHead, type WorkflowSnapshot } from '../src/snapshot.ts'
import type { Next } from '../src/task-claim-store.ts'
import { completeWorkflow, pauseWorkflow } from '../src/transitions.ts'

const AT = 1_700_000_000_000

function commit(
  snapshot: WorkflowSnapshot,
  taskId: string,
  output: string,
  next: Next,
): WorkflowSnapshot {
  return applyOutcome(snapshot, { taskId, workerId: 'w' }, completed(output, next), AT)
}

function fork(pendingTasks: readonly NextPendingTask[], join: { taskId: string } | null): Next {
  return { position: { kind: 'at-fork', forkId: 'f', pendingTasks, join } }
}

function forkIn(snapshot: WorkflowSnapshot) {
  const position = placeOf(snapshot)
  if (position.kind !== 'at-fork') throw new Error(`expected a fork, got ${position.kind}`)
  return position
}

describe('a task that completed', () => {
  test('stores its output and moves on with the next priority and tags', () => {
    const before = atTask('i', 'a', { priority: 1, tags: ['gpu'] })
    const plain = commit(before, 'a', 'out', toTask('b'))
    expect(plain).toMatchObject({ priority: 3, tags: [], deadline: null })
    expect(plain.state).toEqual({
      status: 'in-progress',
      position: { kind: 'at-task', taskId: 'b' },
      completedTasks: new Map([['a', { taskId: 'a', output: bytes('out') }]]),
      lastCompletedTaskId: 'a',
    })
    const deadline = { taskId: 'b', deadlineAt: AT, timeoutMs: 1 }
    const next = { ...toTask('b'), priority: 2, tags: ['eu'], deadline } as Next
    expect(commit(before, 'a', 'out', next)).toMatchObject({ priority: 2, tags: ['eu'], deadline })
  })

  test('ends the workflow with the final output, its own output kept', () => {
    const after = commit(atTask('i'), 'a', 'out', toEnd('end'))
    expect(after.state).toEqual({
      status: 'completed',
      finalOutput: bytes('end'),
      completedTasks: new Map([['a', { taskId: 'a', output: bytes('out') }]]),
    })
  })

  test('can be committed to itself', () => {
    const after = commit(atTask('i'), 'a', 'out', toTask('a'))
    expect(placeOf(after)).toEqual({ kind: 'at-task', taskId: 'a' })
  })

  test.each<[string, NextPosition, object]>([
    [
      'a delay',
      { kind: 'at-delay', delayId: 'd', delayMs: 50, nextTaskId: 'b' },
      { enteredAt: AT, wakeAt: AT + 50 },
    ],
    [
      'a delay of nothing',
      { kind: 'at-delay', delayId: 'd', delayMs: 0, nextTaskId: null },
      { enteredAt: AT, wakeAt: AT },
    ],
    [
      'a delay without end',
      { kind: 'at-delay', delayId: 'd', delayMs: 8.64e15, nextTaskId: 'b' },
      {
        enteredAt: AT,
        wakeAt: expect.toSatisfy((ms: number) => Number.isFinite(new Date(ms).getTime())),
      },
    ],
    [
      'a signal',
      { kind: 'at-signal', signalId: 's', signalName: 'n', timeoutMs: 7, nextTaskId: 'b' },
      { signalId: 's', signalName: 'n', wakeAt: AT + 7 },
    ],
    [
      'a signal without time-out',
      { kind: 'at-signal', signalId: 's', signalName: 'n', timeoutMs: null, nextTaskId: null },
      { wakeAt: null },
    ],
  ])('makes the times of %s absolute', (_, position, expected) => {
    const after = placeOf(commit(atTask('i'), 'a', '', { position }))
    expect(after).toMatchObject({ kind: position.kind, ...expected })
    expect(after).not.toHaveProperty('delayMs')
    expect(after).not.toHaveProperty('timeoutMs')
  })

  test('enters a loop, which counts', () => {
    const position = { kind: 'in-loop', loopId: 'l', iteration: 3, nextTaskId: 'a' } as const
    const after = commit(atTask('i'), 'a', '', { position })
    expect(placeOf(after)).toEqual(position)
    expect(after.loopIterations).toEqual(new Map([['l', 3]]))
  })

  test('on a paused instance moves the paused position, or ends it', () => {
    const paused = pauseWorkflow(atTask('i'), { at: AT })
    const moved = commit(paused, 'a', '', toTask('b'))
    expect(moved.state).toMatchObject({ status: 'paused', position: { taskId: 'b' } })
    expect(commit(paused, 'a', '', toEnd('')).state.status).toBe('completed')
  })

  test('does the same to a head, which has no outputs', () => {
    const claim = { taskId: 'a', workerId: 'w' }
    const head = applyOutcome(toHead(atTask('i')), claim, completed('out', toTask('b')), AT)
    expect(head).toEqual(toHead(commit(atTask('i'), 'a', 'out', toTask('b'))))
  })

  test('comes too late on an ended instance, whatever the outcome', () => {
    const ended = completeWorkflow(atTask('i'), bytes(''))
    const claim = { taskId: 'a', workerId: 'w' }
    const terminal = expect.objectContaining({ code: 'TERMINAL' })
    expect(() => commit(ended, 'a', '', toTask('b'))).toThrow(terminal)
    expect(() => applyOutcome(ended, claim, { kind: 'failed', error: '' }, AT)).toThrow(terminal)
    const retry = { kind: 'retry', error: '', delayMs: 0 } as const
    expect(() => applyOutcome(ended, claim, retry, AT)).toThrow(terminal)
  })
})

describe('entering a fork', () => {
  test('gives every task the committed output, its label and its due time', () => {
    const after = commit(
      atTask('i'),
      'a',
      'out',
      fork(
        [
          { taskId: 'x' },
          { taskId: 'y', branch: 'why', inputTaskId: 'z', priority: 1, tags: ['gpu'], delayMs: 5 },
          { taskId: 'now', delayMs: 0 },
        ],
        { taskId: 'j' },
      ),
    )
    expect(forkIn(after)).toEqual({
      kind: 'at-fork',
      forkId: 'f',
      pendingTasks: [
        { taskId: 'x', inputTaskId: 'a' },
        {
          taskId: 'y',
          branch: 'why',
          inputTaskId: 'z',
          priority: 1,
          tags: ['gpu'],
          availableAt: AT + 5,
        },
        { taskId: 'now', inputTaskId: 'a' },
      ],
      join: { taskId: 'j' },
      completedBranches: new Map(),
      wakeAt: null,
    })
  })

  test('over nothing goes to its join, or stays where it has none', () => {
    const join = { taskId: 'j', priority: 2, tags: ['eu'] }
    const joined = commit(atTask('i'), 'a', '', fork([], join))
    expect(placeOf(joined)).toEqual({ kind: 'at-join', joinId: 'j', completedBranches: new Map() })
    expect(joined).toMatchObject({ priority: 2, tags: ['eu'] })
    expect(forkIn(commit(atTask('i'), 'a', '', fork([], null))).pendingTasks).toEqual([])
  })

  test('refuses a task or a branch that is there twice', () => {
    const join = { taskId: 'j' }
    const twice = [
      [{ taskId: 'x' }, { taskId: 'x', branch: 'other' }],
      [{ taskId: 'x' }, { taskId: 'y', branch: 'x' }],
    ]
    for (const pending of twice) {
      expect(() => commit(atTask('i'), 'a', '', fork(pending, join))).toThrow(TypeError)
    }
  })
})

describe('inside a fork', () => {
  const before = atFork('i', ['x', { taskId: 'y', branch: 'why', tags: ['gpu'] }])

  test('only a branch goes on, outside only a position', () => {
    expect(() => commit(before, 'x', '', toTask('b'))).toThrow(TypeError)
    expect(() => commit(before, 'x', '', toEnd(''))).toThrow(TypeError)
    for (const outside of [
      atTask('i', 'x'),
      at('i', { kind: 'at-join', joinId: 'x', completedBranches: new Map() }),
      at('i', { kind: 'in-loop', loopId: 'l', iteration: 1, nextTaskId: 'x' }),
    ]) {
      expect(() => commit(outside, 'x', '', toBranch(null))).toThrow(TypeError)
      expect(() => commit(outside, 'x', '', toBranch('b'))).toThrow(TypeError)
    }
  })

  test('a branch of several tasks keeps the label of its first', () => {
    const second = commit(before, 'x', 'X', toBranch({ taskId: 'x2', tags: ['eu'], delayMs: 9 }))
    expect(forkIn(second).pendingTasks).toEqual([
      { taskId: 'x2', branch: 'x', inputTaskId: 'x', tags: ['eu'], availableAt: AT + 9 },
      { taskId: 'y', branch: 'why', tags: ['gpu'] },
    ])
    const done = commit(second, 'x2', 'X2', toBranch(null))
    expect(forkIn(done)).toMatchObject({
      pendingTasks: [{ taskId: 'y' }],
      completedBranches: new Map([['x', { taskId: 'x2', output: bytes('X2') }]]),
    })
    expect([...done.state.completedTasks.keys()]).toEqual(['x', 'x2'])
  })

  test('a branch may name its own label, not another', () => {
    const named = commit(before, 'y', '', toBranch({ taskId: 'y2', branch: 'why' }))
    expect(forkIn(named).pendingTasks).toContainEqual(
      expect.objectContaining({ taskId: 'y2', branch: 'why' }),
    )
    for (const branch of ['x', 'y', 'new']) {
      expect(() => commit(before, 'y', '', toBranch({ taskId: 'y2', branch }))).toThrow(TypeError)
    }
  })

  test("a branch can not go on with a sister's task, but with its own again", () => {
    expect(() => commit(before, 'x', '', toBranch('y'))).toThrow(TypeError)
    const again = commit(before, 'x', 'round 1', toBranch('x'))
    expect(forkIn(again).pendingTasks[0]).toEqual({ taskId: 'x', branch: 'x', inputTaskId: 'x' })
    // The sister has finished with that task: it is free for another branch.
    const free = commit(commit(before, 'y', '', toBranch('y2')), 'x', '', toBranch('y'))
    expect(forkIn(free).pendingTasks.map(({ taskId }) => taskId)).toEqual(['y', 'y2'])
  })

  test('a refused commit changes nothing', () => {
    const copy = structuredClone(before)
    expect(() => commit(before, 'x', '', toBranch('y'))).toThrow(TypeError)
    expect(before).toEqual(copy)
  })

  test('the last branch leads to the join, with its priority and tags', () => {
    const join = { taskId: 'j', priority: 5, tags: ['big'] }
    const position = { ...forkIn(before), join }
    let snapshot = at('i', position, { priority: 1, tags: ['old'] })
    snapshot = commit(snapshot, 'y', 'Y', toBranch(null))
    expect(snapshot).toMatchObject({ priority: 1, tags: ['old'] })
    snapshot = commit(snapshot, 'x', 'X', toBranch(null))
    expect(snapshot).toMatchObject({ priority: 5, tags: ['big'], deadline: null })
    expect(placeOf(snapshot)).toEqual({
      kind: 'at-join',
      joinId: 'j',
      completedBranches: new Map([
        ['why', { taskId: 'y', output: bytes('Y') }],
        ['x', { taskId: 'x', output: bytes('X') }],
      ]),
    })
  })

  test('a retry counts for its task alone and leaves the fork', () => {
    const claim = { taskId: 'x', workerId: 'w' }
    const after = applyOutcome(before, claim, { kind: 'retry', error: 'boom', delayMs: 5 }, AT)
    expect(placeOf(after)).toEqual(placeOf(before))
    expect(after.retries).toEqual(
      new Map([
        ['x', { attempts: 1, lastError: 'boom', lastFailedWorker: 'w', nextRetryAt: AT + 5 }],
      ]),
    )
    expect(commit(after, 'y', '', toBranch(null)).retries.size).toBe(1)
    expect(commit(after, 'x', '', toBranch(null)).retries.size).toBe(0)
  })

  test('a branch that fails, or has run too often, fails the instance', () => {
    const claim = { taskId: 'x', workerId: 'w' }
    const failed = applyOutcome(before, claim, { kind: 'failed', error: 'boom' }, AT)
    expect(failed.state).toMatchObject({ status: 'failed', error: 'boom' })
    const retry = { kind: 'retry', error: 'bang', delayMs: 0, maxAttempts: 1 } as const
    expect(applyOutcome(before, claim, retry, AT).state).toMatchObject({
      status: 'failed',
      error: 'bang',
    })
  })

  test('works while the instance is paused', () => {
    const paused = pauseWorkflow(before, { at: AT })
    const joined = commit(commit(paused, 'x', '', toBranch(null)), 'y', '', toBranch(null))
    expect(joined.state).toMatchObject({ status: 'paused', position: { kind: 'at-join' } })
  })
})
