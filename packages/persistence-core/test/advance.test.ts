import { describe, expect, test } from 'vitest'
import { advance, lastOutputOf, timerOf } from '../src/advance.ts'
import { bytes } from '../src/contract/context.ts'
import { at, atFork, atTask } from '../src/contract/fixtures.ts'
import { outputsOf } from '../src/contract/steps.ts'
import { toHead, type WorkflowSnapshot } from '../src/snapshot.ts'
import {
  type CreateSnapshotParams,
  completeTask,
  completeWorkflow,
  moveTo,
  pauseWorkflow,
  resumeWorkflow,
} from '../src/transitions.ts'

const NOW = 1_700_000_000_000

function delayed(
  nextTaskId: string | null,
  wakeAt = NOW,
  params: Partial<CreateSnapshotParams> = {},
): WorkflowSnapshot {
  return at('i', { kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt, nextTaskId }, params)
}

function parked(nextTaskId: string | null, wakeAt: number | null = null): WorkflowSnapshot {
  return at(
    'i',
    { kind: 'at-signal', signalId: 's', signalName: 'go', wakeAt, nextTaskId },
    { priority: 1, tags: ['gpu'] },
  )
}

describe('a delay', () => {
  test('is over exactly at wakeAt, not before', () => {
    const before = delayed('b')
    expect(advance(before, NOW - 1)).toBe(before)
    expect(advance(before, NOW).state).toEqual({
      status: 'in-progress',
      position: { kind: 'at-task', taskId: 'b' },
      completedTasks: new Map(),
      lastCompletedTaskId: null,
    })
    expect(advance(before, NOW + 1_000_000).state).toMatchObject({ position: { taskId: 'b' } })
  })

  test('keeps what was set for the task after it', () => {
    const deadline = { taskId: 'b', deadlineAt: NOW, timeoutMs: 1 }
    const before = delayed('b', NOW, { priority: 2, tags: ['gpu'], deadline })
    expect(advance(before, NOW)).toMatchObject({ priority: 2, tags: ['gpu'], deadline })
  })

  test('takes no event', () => {
    const before = delayed('b', NOW + 1)
    expect(advance(before, NOW, { payload: bytes('event') })).toBe(before)
  })

  test('with nothing after it completes with the last output, the input, or nothing', () => {
    const later = (snapshot: WorkflowSnapshot) => advance(snapshot, NOW).state
    let ran = delayed(null)
    for (const id of ['a', 'b', 'a']) ran = completeTask(ran, id, bytes(`${id} again`))
    expect(later(ran)).toMatchObject({ status: 'completed', finalOutput: bytes('a again') })
    expect([...later(ran).completedTasks.keys()]).toEqual(['b', 'a'])
    expect(later(delayed(null))).toMatchObject({ finalOutput: bytes('in') })
    expect(later(delayed(null, NOW, { initialInput: null }))).toMatchObject({
      finalOutput: bytes(''),
    })
  })

  test('of a head completes with the output that it is given', () => {
    const head = toHead(completeTask(delayed(null), 'a', bytes('out')))
    expect(advance(head, NOW, undefined, bytes('out')).state).toEqual({
      status: 'completed',
      finalOutput: bytes('out'),
    })
  })
})

describe('a signal', () => {
  test('waits for its event, or for its time', () => {
    const endless = parked('b')
    expect(advance(endless, NOW)).toBe(endless)
    const timed = parked('b', NOW)
    expect(advance(timed, NOW - 1)).toBe(timed)
    expect(outputsOf(advance(timed, NOW))).toEqual([['s', '']])
  })

  test('goes on with the payload as the newest result', () => {
    const before = completeTask(parked('b'), 'a', bytes('out'))
    const after = advance(before, NOW, { payload: bytes('yes') })
    expect(after.state).toMatchObject({
      position: { kind: 'at-task', taskId: 'b' },
      lastCompletedTaskId: 's',
    })
    expect(outputsOf(after)).toEqual([
      ['a', 'out'],
      ['s', 'yes'],
    ])
    expect(after).toMatchObject({ priority: 1, tags: ['gpu'] })
  })

  test('prefers the event to a time that is up', () => {
    expect(outputsOf(advance(parked('b', NOW), NOW, { payload: bytes('yes') }))).toEqual([
      ['s', 'yes'],
    ])
  })

  test('with nothing after it completes with the payload, empty where time was up', () => {
    const event = advance(parked(null), NOW, { payload: bytes('yes') })
    expect(event.state).toMatchObject({ status: 'completed', finalOutput: bytes('yes') })
    expect(outputsOf(event)).toEqual([['s', 'yes']])
    const ran = completeTask(parked(null, NOW), 'a', bytes('out'))
    expect(advance(ran, NOW).state).toMatchObject({ finalOutput: bytes('') })
  })

  test('replaces the payload of an earlier round, in the newest place', () => {
    const first = advance(parked('b'), NOW, { payload: bytes('1') })
    const { state } = parked('b')
    const again = moveTo(
      completeTask(first, 'b', bytes('out')),
      'position' in state ? state.position : { kind: 'not-started' },
    )
    expect(outputsOf(advance(again, NOW, { payload: bytes('2') }))).toEqual([
      ['b', 'out'],
      ['s', '2'],
    ])
  })
})

describe('what does not advance', () => {
  test('a paused instance, until it is resumed', () => {
    for (const before of [delayed('b', 0), parked('b', 0)]) {
      const paused = pauseWorkflow(before, { at: NOW })
      expect(advance(paused, NOW, { payload: bytes('event') })).toBe(paused)
      expect(advance(resumeWorkflow(paused), NOW)).toEqual(advance(before, NOW))
    }
  })

  test('any other position, and an ended instance', () => {
    const others = [
      atTask('i'),
      atFork('i', ['x']),
      at('i', { kind: 'not-started' }),
      at('i', { kind: 'in-loop', loopId: 'l', iteration: 0, nextTaskId: null }),
      completeWorkflow(delayed(null, 0), bytes('')),
    ]
    for (const snapshot of others) {
      expect(advance(snapshot, NOW, { payload: bytes('event') })).toBe(snapshot)
      expect(timerOf(snapshot)).toBeNull()
    }
  })

  test("a fork's own wakeAt is the engine's", () => {
    const { state } = atFork('i', ['x'])
    const fork = 'position' in state && state.position.kind === 'at-fork' ? state.position : null
    if (fork === null) throw new Error('expected a fork')
    const snapshot = at('i', { ...fork, wakeAt: 1 })
    expect(advance(snapshot, NOW)).toBe(snapshot)
    expect(timerOf(snapshot)).toBeNull()
  })
})

test('a timer is told for delays and for signals that have one', () => {
  expect(timerOf(delayed('b'))).toBe(NOW)
  expect(timerOf(parked('b', NOW))).toBe(NOW)
  expect(timerOf(parked('b'))).toBeNull()
  expect(timerOf(pauseWorkflow(delayed(null), { at: 1 }))).toBe(NOW)
})

test('the last output is that of the newest task, also where it is empty', () => {
  expect(lastOutputOf(atTask('i'))).toEqual(bytes('in'))
  expect(lastOutputOf(completeTask(atTask('i'), 'a', bytes('')))).toEqual(bytes(''))
  expect(lastOutputOf(atTask('i', 'a', { initialInput: null }))).toEqual(bytes(''))
})
