import { describe, expect, test } from 'vitest'
import { advance } from '../src/advance.ts'
import { bytes } from '../src/contract/context.ts'
import { at, atFork, atTask, completed } from '../src/contract/fixtures.ts'
import { completeTask, moveTo, pauseWorkflow, resumeWorkflow } from '../src/transitions.ts'
import {
  change,
  claimed,
  commit,
  type Dispatched,
  delay,
  entryOf,
  signal,
  stored,
  T0,
  T1,
  T2,
} from './dispatched.ts'

describe('a timer', () => {
  test('over: its task has been due since then, with the input of before the delay', () => {
    const before = stored(completeTask(at('i', delay(T1)), 'a', bytes('A')))
    const noted = change(before, completeTask(before.snapshot, 'note', bytes('')), T1)
    const after = change(noted, advance(noted.snapshot, T2), T2)
    expect(entryOf(after, 'b')).toMatchObject({
      timer: false,
      availableSince: T1,
      inputTaskId: 'a',
      deliveries: 0,
    })
  })

  test('a time-out leads on with the empty result of its signal', () => {
    const before = stored(at('i', signal(T1)))
    const after = change(before, advance(before.snapshot, T2), T2)
    expect(entryOf(after, 'b')).toMatchObject({
      timer: false,
      availableSince: T1,
      inputTaskId: 's',
    })
  })

  test('an event before the time-out has its task due at once', () => {
    for (const wakeAt of [T2, null]) {
      const before = stored(at('i', signal(wakeAt)))
      const after = change(before, advance(before.snapshot, T1, { payload: bytes('yes') }), T1)
      expect(entryOf(after, 'b')).toMatchObject({ availableSince: T1, inputTaskId: 's' })
    }
  })

  test('from a task to a delay and back to that task takes its claim and deliveries', () => {
    const before = claimed(stored(atTask('i')), 'a')
    const waiting = commit(
      before,
      'a',
      completed('out', {
        position: { kind: 'at-delay', delayId: 'd', delayMs: 10, nextTaskId: 'a' },
      }),
    )
    expect(entryOf(waiting, 'a')).toMatchObject({ claim: null, deliveries: 0, timer: true })
    const after = change(waiting, advance(waiting.snapshot, T2), T2)
    expect(entryOf(after, 'a')).toMatchObject({ inputTaskId: 'a', availableSince: T1 + 10 })
  })

  test('followed by another delay has the input of before that one', () => {
    const before = stored(completeTask(at('i', delay(T1)), 'a', bytes('A')))
    const between = completeTask(before.snapshot, 'z', bytes('Z'))
    const second = moveTo(between, { ...delay(T2), delayId: 'd2' })
    expect(entryOf(change(before, second), 'b').inputTaskId).toBe('z')
  })

  test('stored again with another time follows it', () => {
    const before = stored(at('i', delay(T2)))
    expect(entryOf(change(before, at('i', delay(T2 + 5))), 'b').availableSince).toBe(T2 + 5)
    expect(entryOf(change(before, at('i', delay(T0))), 'b').availableSince).toBe(T1)
  })
})

describe('unpause', () => {
  const unpaused = (before: Dispatched, now: number): Dispatched => {
    const paused = change(before, pauseWorkflow(before.snapshot, { at: now }), now)
    return change(paused, resumeWorkflow(paused.snapshot), now, { unpaused: true })
  }

  test('has what is due wait from now, and keeps claims and deliveries', () => {
    const before = claimed(stored(atFork('i', ['x', { taskId: 'y', availableAt: T2 }])), 'x')
    const after = unpaused(before, T1)
    expect(entryOf(after, 'x')).toEqual({ ...entryOf(before, 'x'), availableSince: T1 })
    expect(entryOf(after, 'y')).toEqual(entryOf(before, 'y'))
  })

  test('is not undone by the next save', () => {
    const after = unpaused(stored(atTask('i')), T1)
    expect(entryOf(change(after, after.snapshot, T2), 'a').availableSince).toBe(T1)
  })

  test('leaves a delay that is not over alone, and counts one that is from now', () => {
    expect(entryOf(unpaused(stored(at('i', delay(T2))), T1), 'b').availableSince).toBe(T2)
    const over = unpaused(stored(at('i', delay(T1))), T2)
    expect(entryOf(over, 'b')).toMatchObject({ availableSince: T2, timer: true })
    const after = change(over, advance(over.snapshot, T2 + 5), T2 + 5)
    expect(entryOf(after, 'b')).toMatchObject({ availableSince: T2, timer: false })
  })
})
