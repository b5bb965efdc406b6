import { describe, expect, test } from 'vitest'
import { bytes } from '../src/contract/context.ts'
import { at, atFork, atTask } from '../src/contract/fixtures.ts'
import {
  claimEntry,
  type DispatchEntry,
  isFree,
  isHeldBy,
  isLive,
  isRepeated,
  isServed,
  orderKey,
  runnableTasks,
  toAvailableTask,
} from '../src/dispatch.ts'
import { applySignals } from '../src/pending-signals.ts'
import type { Position } from '../src/position.ts'
import type { SignalRequest } from '../src/signal-store.ts'
import type { WorkflowSnapshot } from '../src/snapshot.ts'
import {
  cancelWorkflow,
  completeTask,
  completeWorkflow,
  failWorkflow,
  pauseWorkflow,
  scheduleRetry,
} from '../src/transitions.ts'

const NOW = 1_700_000_000_000

const entry: DispatchEntry = {
  taskId: 'a',
  priority: 3,
  tags: [],
  attempt: 1,
  lastFailedWorker: null,
  availableSince: NOW,
  inputTaskId: null,
  deliveries: 0,
  timer: false,
  claim: null,
}
const held = { workerId: 'w', token: 7, claimedAt: NOW, expiresAt: NOW + 10 }
const ref = { instanceId: 'i', taskId: 'a', workerId: 'w' }

describe('runnableTasks', () => {
  const completedBranches = new Map()
  const delay = {
    kind: 'at-delay',
    delayId: 'd',
    enteredAt: 0,
    wakeAt: 9,
    nextTaskId: 'b',
  } as const
  const signal = {
    kind: 'at-signal',
    signalId: 's',
    signalName: 'n',
    wakeAt: 9,
    nextTaskId: 'b',
  } as const
  const loop = { kind: 'in-loop', loopId: 'l', iteration: 1, nextTaskId: 'b' } as const

  test.each<[Position, (readonly [string, number | null])[]]>([
    [{ kind: 'not-started' }, []],
    [{ kind: 'at-task', taskId: 'a' }, [['a', null]]],
    [{ kind: 'at-join', joinId: 'j', completedBranches }, [['j', null]]],
    [loop, [['b', null]]],
    [{ ...loop, nextTaskId: null }, []],
    [delay, [['b', 9]]],
    [{ ...delay, nextTaskId: null }, []],
    [signal, [['b', 9]]],
    [{ ...signal, wakeAt: null }, []],
    [{ ...signal, nextTaskId: null }, []],
  ])('at %o', (position, expected) => {
    const dues = (snapshot: WorkflowSnapshot) =>
      runnableTasks(snapshot).map(({ taskId, dueAt }) => [taskId, dueAt])
    const snapshot = at('i', position)
    expect(dues(snapshot)).toEqual(expected)
    // The same while it is paused, and whether or not they ran before; nothing once it has ended.
    expect(dues(pauseWorkflow(snapshot, { at: NOW }))).toEqual(expected)
    expect(dues(completeTask(snapshot, 'b', bytes('')))).toEqual(expected)
    expect(dues(failWorkflow(snapshot, 'boom'))).toEqual([])
  })

  test("have the current task's priority and tags, by default 3 and none", () => {
    expect(runnableTasks(atTask('i'))).toEqual([
      { taskId: 'a', priority: 3, tags: [], dueAt: null, attempt: 1, lastFailedWorker: null },
    ])
    expect(runnableTasks(atTask('i', 'a', { priority: 1, tags: ['gpu'] }))).toMatchObject([
      { priority: 1, tags: ['gpu'] },
    ])
  })

  test('in a fork have their own, never those of the task before', () => {
    const pending = ['x', { taskId: 'y', priority: 5, tags: ['eu'], availableAt: 4 }]
    expect(runnableTasks(atFork('i', pending, { priority: 1, tags: ['gpu'] }))).toMatchObject([
      { taskId: 'x', priority: 3, tags: [], dueAt: null },
      { taskId: 'y', priority: 5, tags: ['eu'], dueAt: 4 },
    ])
  })

  test('that failed wait for the later of their retry and their own time', () => {
    const retry = (snapshot: WorkflowSnapshot, taskId: string, retryAt: number) =>
      scheduleRetry(snapshot, taskId, { error: 'boom', workerId: 'w', retryAt })
    expect(runnableTasks(retry(retry(atTask('i'), 'a', 5), 'a', 9))).toMatchObject([
      { attempt: 3, lastFailedWorker: 'w', dueAt: 9 },
    ])
    const fork = atFork('i', [
      { taskId: 'x', availableAt: 20 },
      { taskId: 'y', availableAt: 5 },
      'z',
    ])
    expect(runnableTasks(retry(retry(fork, 'x', 10), 'y', 10))).toMatchObject([
      { taskId: 'x', dueAt: 20, attempt: 2 },
      { taskId: 'y', dueAt: 10, attempt: 2 },
      { taskId: 'z', dueAt: null, attempt: 1, lastFailedWorker: null },
    ])
  })
})

describe('claims', () => {
  test('expire exactly when the clock reaches their end, or never', () => {
    expect(isLive(held, NOW + 9)).toBe(true)
    expect(isLive(held, NOW + 10)).toBe(false)
    expect(isLive({ ...held, expiresAt: null }, Number.MAX_SAFE_INTEGER)).toBe(true)
    expect(isLive(null, NOW)).toBe(false)
  })

  test('are named by worker and token, or by the worker alone, expired or not', () => {
    const claimed = claimEntry(entry, held)
    expect(isHeldBy(claimed, { ...ref, token: 7 })).toBe(true)
    expect(isHeldBy(claimed, ref)).toBe(true)
    expect(isHeldBy(claimed, { ...ref, token: 6 })).toBe(false)
    expect(isHeldBy(claimed, { ...ref, workerId: 'other', token: 7 })).toBe(false)
    expect(isHeldBy(entry, ref)).toBe(false)
    expect(isHeldBy(undefined, ref)).toBe(false)
  })

  test('count deliveries, and leave the place in the queue', () => {
    const twice = claimEntry(claimEntry(entry, held), { ...held, token: 8 })
    expect(twice).toEqual({ ...entry, deliveries: 2, claim: { ...held, token: 8 } })
    expect(entry.deliveries).toBe(0)
  })

  test('free a task when it is due and nobody holds it', () => {
    expect(isFree(entry, NOW - 1)).toBe(false)
    expect(isFree(entry, NOW)).toBe(true)
    const claimed = claimEntry(entry, held)
    expect(isFree(claimed, NOW + 9)).toBe(false)
    expect(isFree(claimed, NOW + 10)).toBe(true)
    expect(isFree({ ...claimed, availableSince: NOW + 20 }, NOW + 10)).toBe(false)
  })
})

describe('order', () => {
  test('a level of priority is worth one interval of waiting', () => {
    const key = (priority: number, availableSince: number) =>
      orderKey({ priority, availableSince }, 1000)
    expect(key(1, NOW)).toBeLessThan(key(2, NOW))
    expect(key(2, NOW - 1000)).toBe(key(1, NOW))
    expect(key(2, NOW - 1001)).toBeLessThan(key(1, NOW))
    expect(key(5, NOW - 3999)).toBeGreaterThan(key(1, NOW))
    expect(key(3, NOW)).toBeLessThan(key(3, NOW + 1))
  })

  test.each<[string, object, readonly string[], boolean]>([
    ['no tags takes all', {}, ['gpu'], true],
    ['no tags takes untagged', {}, [], true],
    ['[] takes untagged only', { tags: [] }, [], true],
    ['[] takes nothing tagged', { tags: [] }, ['gpu'], false],
    ['all of the tags', { tags: ['eu', 'gpu'] }, ['gpu', 'eu'], true],
    ['some of the tags', { tags: ['gpu'] }, ['gpu', 'eu'], false],
    ['its definition', { definitionHashes: ['other', 'd'] }, [], true],
    ['another definition', { definitionHashes: ['other'] }, [], false],
    ['no definition', { definitionHashes: [] }, [], false],
    ['tags and definition', { tags: ['gpu'], definitionHashes: ['d'] }, ['gpu'], true],
    ['tags without definition', { tags: ['gpu'], definitionHashes: ['e'] }, ['gpu'], false],
  ])('a worker with %s', (_, filter, tags, expected) => {
    expect(isServed(filter, 'd', tags)).toBe(expected)
  })
})

describe('toAvailableTask', () => {
  test('tells what a worker needs, and no more', () => {
    const snapshot = atTask('i', 'a', { traceParent: 'trace' })
    const given = { ...claimEntry(entry, held), lastFailedWorker: 'w', attempt: 2 }
    expect(toAvailableTask(snapshot, given, bytes('input'))).toEqual({
      instanceId: 'i',
      taskId: 'a',
      definitionHash: 'definition-1',
      input: bytes('input'),
      branches: new Map(),
      priority: 3,
      tags: [],
      attempt: 2,
      deliveries: 1,
      availableSince: NOW,
      traceParent: 'trace',
    })
  })

  test('has branches at a join only', () => {
    const completedBranches = new Map([['x', { taskId: 'x', output: bytes('X') }]])
    const join = at('i', { kind: 'at-join', joinId: 'a', completedBranches })
    expect(toAvailableTask(join, entry, bytes('')).branches).toEqual(completedBranches)
    const { state } = atFork('i', ['a'])
    const fork = 'position' in state ? state.position : { kind: 'not-started' as const }
    const half = at('i', { ...fork, completedBranches } as Position)
    expect(toAvailableTask(half, entry, bytes('')).branches.size).toBe(0)
  })
})

test('a commit is repeated by the same worker with the same token, or with none', () => {
  const record = {
    workerId: 'w',
    token: 7,
    revision: 2,
    status: 'in-progress',
    next: null,
  } as const
  expect(isRepeated(record, { ...ref, token: 7 })).toBe(true)
  expect(isRepeated(record, ref)).toBe(true)
  expect(isRepeated(record, { ...ref, token: 8 })).toBe(false)
  expect(isRepeated(record, { ...ref, workerId: 'other', token: 7 })).toBe(false)
  expect(isRepeated(null, ref)).toBe(false)
  expect(isRepeated(undefined, ref)).toBe(false)
})

describe('applySignals', () => {
  const cancel: SignalRequest = {
    kind: 'cancel',
    reason: 'why',
    requestedBy: 'ann',
    requestedAt: 1,
  }
  const pause: SignalRequest = { kind: 'pause', reason: 'rest', requestedBy: 'bob', requestedAt: 2 }
  const paused = pauseWorkflow(atTask('i'), { reason: 'old', at: 1 })

  test('a cancel beats a pause, with its details', () => {
    const details = { interruptedAtTask: 'a' }
    expect(applySignals(atTask('i'), { cancel, pause }, NOW, details).state).toMatchObject({
      status: 'cancelled',
      reason: 'why',
      cancelledBy: 'ann',
      cancelledAt: NOW,
      interruptedAtTask: 'a',
    })
    expect(applySignals(paused, { cancel, pause: null }, NOW).state).toMatchObject({
      status: 'cancelled',
      interruptedAtTask: null,
    })
  })

  test('a pause stops an instance in progress where it is', () => {
    expect(applySignals(atTask('i'), { cancel: null, pause }, NOW).state).toMatchObject({
      status: 'paused',
      reason: 'rest',
      pausedBy: 'bob',
      pausedAt: NOW,
      position: { kind: 'at-task', taskId: 'a' },
    })
  })

  test('what has nothing to apply stays the same object', () => {
    const nothing = { cancel: null, pause: null }
    const ended = [
      completeWorkflow(atTask('i'), bytes('')),
      failWorkflow(atTask('i'), 'boom'),
      cancelWorkflow(atTask('i'), { at: 1 }),
    ]
    for (const snapshot of ended)
      expect(applySignals(snapshot, { cancel, pause }, NOW)).toBe(snapshot)
    for (const snapshot of [atTask('i'), paused]) {
      expect(applySignals(snapshot, nothing, NOW)).toBe(snapshot)
    }
    expect(applySignals(paused, { cancel: null, pause }, NOW)).toBe(paused)
  })
})
