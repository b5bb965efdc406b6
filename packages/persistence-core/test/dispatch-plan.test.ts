import { describe, expect, test } from 'vitest'
import { bytes } from '../src/contract/context.ts'
import { at, atFork, atTask, completed, toTask } from '../src/contract/fixtures.ts'
import { placeOf, toBranch } from '../src/contract/steps.ts'
import { TIMER_TASK_ID } from '../src/dispatch.ts'
import type { Position } from '../src/position.ts'
import { completeTask, completeWorkflow, moveTo, pauseWorkflow } from '../src/transitions.ts'
import {
  change,
  claimed,
  commit,
  delay,
  entryOf,
  idsOf,
  signal,
  stored,
  T0,
  T1,
  T2,
} from './dispatched.ts'

describe('a new instance', () => {
  test('waits from when it is stored, or becomes due', () => {
    const fork = atFork('i', [
      'x',
      { taskId: 'y', availableAt: T1 },
      { taskId: 'z', availableAt: 1 },
    ])
    expect(
      stored(fork).entries.map(({ taskId, availableSince }) => [taskId, availableSince]),
    ).toEqual([
      ['x', T0],
      ['y', T1],
      ['z', T0],
    ])
    expect(entryOf(stored(atTask('i')), 'a')).toEqual({
      taskId: 'a',
      priority: 3,
      tags: [],
      attempt: 1,
      lastFailedWorker: null,
      availableSince: T0,
      inputTaskId: null,
      deliveries: 0,
      timer: false,
      claim: null,
    })
  })

  test('has a timer at a delay or signal, with the task behind it or with none', () => {
    expect(entryOf(stored(at('i', delay(T1))), 'b')).toMatchObject({
      timer: true,
      availableSince: T1,
    })
    expect(entryOf(stored(at('i', signal(T1))), 'b')).toMatchObject({
      timer: true,
      availableSince: T1,
      inputTaskId: 's',
    })
    for (const position of [delay(T1, null), signal(T1, null)]) {
      const before = stored(at('i', position))
      expect(idsOf(before)).toEqual([TIMER_TASK_ID])
      expect(entryOf(before, TIMER_TASK_ID)).toMatchObject({ timer: true, availableSince: T1 })
    }
    expect(idsOf(stored(at('i', signal(null))))).toEqual([])
    expect(idsOf(stored(at('i', signal(null, null))))).toEqual([])
  })

  test('that has ended, or has nothing to run, has none', () => {
    const before = claimed(stored(atTask('i')), 'a')
    expect(idsOf(change(before, completeWorkflow(before.snapshot, bytes(''))))).toEqual([])
    expect(idsOf(change(before, moveTo(before.snapshot, { kind: 'not-started' })))).toEqual([])
  })
})

describe('a save that leaves a task runnable', () => {
  test('keeps its place, deliveries and claim, also with other priority and tags', () => {
    const before = claimed(stored(atTask('i')), 'a')
    const after = change(before, atTask('i', 'a', { priority: 1, tags: ['gpu'] }))
    expect(entryOf(after, 'a')).toEqual({ ...entryOf(before, 'a'), priority: 1, tags: ['gpu'] })
  })

  test("keeps its input, also when it stored the task's own output", () => {
    const start = stored(completeTask(atTask('i', 'b'), 'a', bytes('A')))
    expect(entryOf(start, 'b').inputTaskId).toBe('a')
    const after = change(start, completeTask(start.snapshot, 'b', bytes('half')))
    expect(entryOf(after, 'b').inputTaskId).toBe('a')
  })

  test('and one that does not takes its claim', () => {
    const before = claimed(stored(atTask('i')), 'a')
    for (const position of [delay(T2, 'a'), signal(T2, 'a')]) {
      const after = change(before, moveTo(before.snapshot, position))
      expect(entryOf(after, 'a')).toMatchObject({ claim: null, deliveries: 0, availableSince: T2 })
    }
    const away = change(before, moveTo(before.snapshot, { kind: 'at-task', taskId: 'b' }))
    const back = change(away, moveTo(away.snapshot, { kind: 'at-task', taskId: 'a' }), T2)
    expect(entryOf(back, 'a')).toMatchObject({ claim: null, deliveries: 0, availableSince: T2 })
  })

  test('may put it off, and have it due again', () => {
    const before = stored(atFork('i', ['x']))
    const off = change(before, atFork('i', [{ taskId: 'x', availableAt: T2 }]))
    expect(entryOf(off, 'x').availableSince).toBe(T2)
    expect(entryOf(change(off, atFork('i', ['x'])), 'x').availableSince).toBe(T1)
    expect(entryOf(change(off, off.snapshot, T2 + 5), 'x').availableSince).toBe(T2)
  })
})

describe('a commit', () => {
  test('to the same task starts it anew, with its own output', () => {
    const before = claimed(stored(atTask('i')), 'a')
    const after = commit(before, 'a', completed('out', toTask('a')))
    expect(entryOf(after, 'a')).toMatchObject({
      claim: null,
      deliveries: 0,
      attempt: 1,
      availableSince: T1,
      inputTaskId: 'a',
    })
  })

  test('to the next iteration of a loop starts its task anew', () => {
    const loop = (iteration: number): Position => ({
      kind: 'in-loop',
      loopId: 'l',
      iteration,
      nextTaskId: 'a',
    })
    const before = claimed(stored(at('i', loop(1))), 'a')
    const after = commit(before, 'a', completed('out', { position: loop(2) as never }))
    expect(entryOf(after, 'a')).toMatchObject({ claim: null, deliveries: 0, inputTaskId: 'a' })
    // A save within an iteration leaves it as it is; one of the next takes the newest output.
    const saved = completeTask(before.snapshot, 'note', bytes(''))
    expect(entryOf(change(before, saved), 'a')).toEqual(entryOf(before, 'a'))
    expect(entryOf(change(before, moveTo(saved, loop(2))), 'a').inputTaskId).toBe('note')
  })

  test('for a retry gives up the claim, counts on, and waits from when it is due', () => {
    const before = claimed(stored(atTask('i')), 'a')
    const now = commit(before, 'a', { kind: 'retry', error: 'boom', delayMs: 0 })
    expect(entryOf(now, 'a')).toMatchObject({
      claim: null,
      deliveries: 1,
      attempt: 2,
      lastFailedWorker: 'w',
      availableSince: T1,
      inputTaskId: null,
    })
    const later = commit(before, 'a', { kind: 'retry', error: 'boom', delayMs: 500 })
    expect(entryOf(later, 'a').availableSince).toBe(T1 + 500)
    // Once its result is stored there is nothing left to wait for.
    const cleared = change(later, completeTask(later.snapshot, 'a', bytes('')), T1 + 1)
    expect(entryOf(cleared, 'a')).toMatchObject({ attempt: 1, availableSince: T1 + 1 })
  })

  test('on a paused instance plans as it would in progress', () => {
    const start = claimed(stored(atTask('i')), 'a')
    const before = change(start, pauseWorkflow(start.snapshot, { at: T1 }))
    expect(before.entries).toEqual(start.entries)
    const after = commit(before, 'a', completed('out', toTask('b')), T2)
    expect(entryOf(after, 'b')).toMatchObject({ availableSince: T2, inputTaskId: 'a', claim: null })
  })
})

describe('a fork', () => {
  const start = claimed(stored(completeTask(atFork('i', ['x', 'y']), 'a', bytes('A'))), 'y')

  test('leaves sisters their place, claim and input when a branch moves on', () => {
    const before = claimed(start, 'x')
    const after = commit(before, 'x', completed('X', toBranch('x2')))
    expect(entryOf(after, 'y')).toEqual(entryOf(before, 'y'))
    expect(entryOf(after, 'y').inputTaskId).toBe('a')
    expect(entryOf(after, 'x2')).toMatchObject({
      inputTaskId: 'x',
      availableSince: T1,
      claim: null,
    })
    const half = change(after, completeTask(after.snapshot, 'y', bytes('half')), T2)
    expect(entryOf(half, 'y').inputTaskId).toBe('a')
  })

  test('runs a branch whose task is committed to itself anew', () => {
    const after = commit(start, 'y', completed('Y', toBranch('y')))
    expect(entryOf(after, 'y')).toMatchObject({ claim: null, deliveries: 0, inputTaskId: 'y' })
    expect(entryOf(after, 'x')).toEqual(entryOf(start, 'x'))
  })

  test('honours the input that a task names, also once it is stored again', () => {
    const named = atFork('i', [{ taskId: 'x', inputTaskId: 'q' }, 'y'])
    expect(entryOf(stored(named), 'x').inputTaskId).toBe('q')
    expect(entryOf(change(start, named), 'x').inputTaskId).toBe('q')
  })

  test('of another round takes the output before it', () => {
    const again = moveTo(completeTask(start.snapshot, 'b', bytes('B')), {
      ...placeOf(start.snapshot),
      forkId: 'another',
    } as Position)
    expect(entryOf(change(start, again), 'x').inputTaskId).toBe('b')
  })

  test('leads to a join that has no single input', () => {
    const half = commit(start, 'x', completed('X', toBranch(null)))
    const joined = commit(half, 'y', completed('Y', toBranch(null)), T2)
    expect(joined.entries).toMatchObject([
      { taskId: 'join', inputTaskId: null, availableSince: T2, claim: null, deliveries: 0 },
    ])
  })

  test('whose last task has the name of the join does not keep its claim', () => {
    const before = claimed(stored(atFork('i', ['join'])), 'join')
    const after = commit(before, 'join', completed('J', toBranch(null)))
    expect(entryOf(after, 'join')).toMatchObject({ claim: null, deliveries: 0, availableSince: T1 })
  })
})
