import { describe, expect, test } from 'vitest'
import { decodeSnapshot, encodeSnapshot } from '../src/envelope.ts'
import type { WorkflowSnapshot } from '../src/snapshot.ts'
import { envelope, HEADER, read, refuses, text, whole, withFields } from './envelopes.ts'

const withState = (state: string): Uint8Array => withFields({ state })
const withPosition = (position: string): Uint8Array =>
  withState(
    `{"InProgress":{"position":${position},"completed_tasks":{},"last_completed_task_id":null}}`,
  )
const withFork = (fields: Record<string, string>): Uint8Array =>
  withPosition(
    `{"AtFork":${text({ fork_id: '"f"', completed_branches: '{}', wake_at: '"2026-01-01T00:00:00Z"', ...fields })}}`,
  )
const withRetry = (fields: Record<string, string>): Uint8Array => {
  const policy =
    '{"max_retries":1,"initial_delay":{"secs":0,"nanos":0},"backoff_multiplier":1,"max_delay":null}'
  const retry = { attempts: '1', policy, last_error: '""', next_retry_at: '"2026-01-01T00:00:00Z"' }
  return withFields({ task_retries: `{"t":${text({ ...retry, ...fields })}}` })
}

describe('the header', () => {
  test('must be there and known', () => {
    refuses(new Uint8Array(0), 'ends after 0 bytes')
    refuses(Uint8Array.from(HEADER.slice(0, 5)), 'ends after 5 bytes')
    refuses(Uint8Array.from(HEADER), 'ends too early')
    for (const [at, message] of [
      [0, "does not start with 'SYRS'"],
      [3, "does not start with 'SYRS'"],
      [4, 'its format version is 2'],
      [5, 'its codec is 2'],
    ] as const) {
      const bytes = withFields({})
      bytes[at] = at < 4 ? 0x58 : 2
      refuses(bytes, message)
    }
  })

  test('may lie anywhere in its buffer, and nothing of that is shared', () => {
    const bytes = withFields({ initial_input: `[${'7,'.repeat(99)}7]` })
    const padded = Uint8Array.from([1, 2, 3, ...bytes, 4])
    const snapshot = decodeSnapshot(padded.subarray(3, -1))
    padded.fill(0)
    expect(snapshot.initialInput).toStrictEqual(new Uint8Array(100).fill(7))
    expect(snapshot.initialInput?.buffer.byteLength).toBe(100)
  })
})

describe('refused with the place', () => {
  test('what else is required and missing', () => {
    for (const name of Object.keys(whole)) {
      const { [name]: _, ...rest } = whole
      refuses(envelope(text(rest)), name === 'state' ? 'state is missing' : `${name} is missing`)
    }
    for (const [state, path] of [
      ['{"InProgress":{"completed_tasks":{}}}', 'state.InProgress.position'],
      ['{"InProgress":{"position":"NotStarted"}}', 'state.InProgress.completed_tasks'],
      ['{"Completed":{}}', 'state.Completed.final_output'],
      ['{"Failed":{}}', 'state.Failed.error'],
      ['{"Cancelled":{"completed_tasks":{}}}', 'state.Cancelled.cancelled_at'],
      ['"Failed"', 'state.Failed'],
    ] as const) {
      refuses(withState(state), `${path} is missing`)
    }
    for (const [position, path] of [
      ['{"AtTask":{}}', 'AtTask.task_id'],
      ['"AtTask"', 'AtTask'],
      ['{"AtDelay":{"delay_id":"d","wake_at":"2026-01-01T00:00:00Z"}}', 'AtDelay.entered_at'],
      ['{"AtSignal":{"signal_id":"s"}}', 'AtSignal.signal_name'],
      ['{"AtFork":{"fork_id":"f","completed_branches":{}}}', 'AtFork.wake_at'],
      ['{"AtJoin":{"join_id":"j"}}', 'AtJoin.completed_branches'],
      ['{"InLoop":{"loop_id":"l"}}', 'InLoop.iteration'],
    ] as const) {
      refuses(withPosition(position), `state.InProgress.position.${path} is missing`)
    }
    refuses(withFields({ task_retries: '{"t":{"attempts":1}}' }), 'task_retries["t"].policy')
  })

  test('an unknown kind of state or position', () => {
    refuses(withState('{"Sleeping":{}}'), 'state is of an unknown kind, "Sleeping"')
    refuses(withState('{"__proto__":{}}'), 'state is of an unknown kind, "__proto__"')
    refuses(
      withState('{"Failed":{"error":""},"Completed":{}}'),
      'state must be an object of exactly',
    )
    refuses(withState('{}'), 'state must be an object of exactly one field')
    refuses(withPosition('{"AtSea":{}}'), 'state.InProgress.position is of an unknown kind')
    refuses(withPosition('null'), 'state.InProgress.position must be an object, got null')
  })

  test('numbers that are no integers, or out of range', () => {
    for (const number of ['1.0', '-1', '-0', '1e2', '"1"', '18446744073709551616', 'null', '[]']) {
      refuses(withFields({ created_at: number }), 'created_at must be a whole number')
      refuses(withFields({ revision: number }), 'revision must be a whole number')
      refuses(withRetry({ attempts: number }), 'task_retries["t"].attempts must be a whole')
      refuses(withFields({ loop_iterations: `{"l":${number}}` }), 'loop_iterations["l"] must be')
      refuses(
        withPosition(`{"InLoop":{"loop_id":"l","iteration":${number}}}`),
        'state.InProgress.position.InLoop.iteration must be a whole number from 0 to 4294967295',
      )
    }
    refuses(withFields({ loop_iterations: '{"l":4294967296}' }), 'from 0 to 4294967295')
    refuses(withRetry({ attempts: '0' }), 'from 1 to')
    refuses(withFields({ created_at: '8640000000001' }), 'created_at must be a whole number')
    refuses(withFields({ task_priority: '0' }), 'task_priority must be a whole number from 1 to 5')
    refuses(withFields({ task_priority: '6' }), 'from 1 to 5, got the number 6')
    refuses(withFields({ initial_input: '[1,2,256]' }), 'initial_input[2] must be')
    refuses(withFields({ initial_input: '[1.5]' }), 'initial_input[0] must be')
    refuses(withFields({ initial_input: '{}' }), 'initial_input must be bytes')
    refuses(withFields({ initial_input: `[${'1,'.repeat(99)}-1]` }), 'initial_input[99] must be')
  })

  test('durations and multipliers that are none', () => {
    const policy = (delay: string, multiplier: string): Uint8Array =>
      withRetry({
        policy: `{"max_retries":1,"initial_delay":${delay},"backoff_multiplier":${multiplier}}`,
      })
    expect(read(policy('{"secs":1,"nanos":1}', '1.5'))?.retries.get('t')?.policy).toStrictEqual({
      maxRetries: 1,
      initialDelayMs: 1001,
      backoffMultiplier: 1.5,
      maxDelayMs: null,
    })
    refuses(policy('5', '1'), 'initial_delay must be an object')
    refuses(policy('{"secs":1}', '1'), 'initial_delay.nanos is missing')
    refuses(policy('{"secs":1,"nanos":1000000000}', '1'), 'nanos must be a whole number from 0')
    refuses(policy('{"secs":-1,"nanos":0}', '1'), 'initial_delay.secs must be')
    for (const multiplier of ['1e400', '-1', 'null', '"2"']) {
      refuses(policy('{"secs":0,"nanos":0}', multiplier), 'backoff_multiplier must be a finite')
    }
  })

  test('ids that the contract does not allow', () => {
    const long = 'é'.repeat(129)
    for (const id of ['""', '"a\\u0000"', `"${long}"`, '1', 'null', '[]']) {
      refuses(withFields({ instance_id: id }), 'instance_id must')
      refuses(withFields({ task_tags: `[${id}]` }), 'task_tags[0] must')
      refuses(withPosition(`{"AtTask":{"task_id":${id}}}`), 'position.AtTask.task_id must')
    }
    refuses(withFields({ instance_id: '"\\ud800"' }), 'lone surrogate')
    refuses(withFields({ loop_iterations: '{"":1}' }), 'the key loop_iterations[""] must')
    refuses(withFields({ task_tags: `[${Array(33).fill('"t"')}]` }), 'task_tags must have at most')
    refuses(withFields({ task_tags: 'null' }), 'task_tags must be an array')
  })

  test('results under a key that is not their task', () => {
    const tasks = '{"a":{"task_id":"a","output":[]},"b":{"task_id":"c","output":[]}}'
    const message = 'completed_tasks["b"].task_id must be the key that it is under'
    refuses(
      withState(`{"InProgress":{"position":"NotStarted","completed_tasks":${tasks}}}`),
      message,
    )
    refuses(withState(`{"Failed":{"error":"","completed_tasks":${tasks}}}`), message)
    expect(read(withFork({ completed_branches: tasks }))).toBeDefined()
  })

  test('forks that can not be', () => {
    const join = '{"task_id":"j"}'
    expect(read(withFork({ pending_tasks: '[{"task_id":"a"}]', join }))).toBeDefined()
    refuses(withFork({ pending_tasks: '[{"task_id":"a"}]' }), 'join is required')
    refuses(
      withFork({ pending_tasks: '[{"task_id":"a"},{"task_id":"a"}]', join }),
      'each task once',
    )
    refuses(
      withFork({ pending_tasks: '[{"task_id":"a"},{"task_id":"b","branch":"a"}]', join }),
      'different branches',
    )
    refuses(withFork({ pending_tasks: '{}' }), 'AtFork.pending_tasks must be an array')
    refuses(withFork({ join: '{}' }), 'AtFork.join.task_id is missing')
    refuses(withFork({ no_wake_at: '1' }), 'AtFork.no_wake_at must be true or false')
  })

  test.each([
    ['2026-02-30T00:00:00Z'],
    ['2026-13-01T00:00:00Z'],
    ['2026-00-01T00:00:00Z'],
    ['2025-02-29T00:00:00Z'],
    ['2026-01-01T24:00:00Z'],
    ['2026-01-01T00:60:00Z'],
    ['2026-01-01T00:00:60Z'],
    ['2026-01-01T00:00:00'],
    ['2026-01-01T00:00:00+00:00'],
    ['2026-01-01t00:00:00z'],
    ['2026-01-01 00:00:00Z'],
    ['2026-01-01T00:00:00.Z'],
    ['2026-01-01T00:00:00.1234567890Z'],
    ['2026-01-01T00:00:00,5Z'],
    ['2026-01-01'],
    ['1969-12-31T23:59:59.999Z'],
    ['+10000-01-01T00:00:00Z'],
    ['10000-01-01T00:00:00Z'],
    [' 2026-01-01T00:00:00Z'],
    ['2026-01-01T00:00:00Z\\n'],
    [''],
  ])('the instant %j', (instant) => {
    refuses(withFork({ wake_at: `"${instant}"` }), 'AtFork.wake_at must be an instant')
  })

  test('nothing of an instant that is one', () => {
    for (const [instant, at] of [
      ['1970-01-01T00:00:00Z', 0],
      ['2024-02-29T00:00:00.9Z', Date.UTC(2024, 1, 29) + 900],
      ['2026-01-01T00:00:00.123999999Z', Date.UTC(2026, 0) + 123],
      ['9999-12-31T23:59:59.999999999Z', 253402300799999],
    ] as const) {
      const state = read(withFork({ wake_at: `"${instant}"` }))?.state
      expect(state).toMatchObject({ position: { wakeAt: at } })
    }
  })
})

describe('what can not be written', () => {
  const snapshot = decodeSnapshot(withFields({})) as WorkflowSnapshot
  const refusesToWrite = (change: object, message: string): void => {
    const bad = { ...snapshot, ...change } as WorkflowSnapshot
    expect(() => encodeSnapshot(bad)).toThrow(
      expect.objectContaining({ code: 'SERIALIZATION', message: expect.stringContaining(message) }),
    )
  }
  const at = (position: object): object => ({
    state: {
      status: 'in-progress',
      position,
      completedTasks: new Map(),
      lastCompletedTaskId: null,
    },
  })

  test('is refused with the place', () => {
    const loop = { kind: 'in-loop', loopId: 'l', nextTaskId: null }
    const delay = { kind: 'at-delay', delayId: 'd', enteredAt: 0, nextTaskId: null }
    refusesToWrite(at({ ...delay, wakeAt: 253402300800000 }), 'position.wakeAt must be')
    refusesToWrite(at({ ...delay, wakeAt: Number.NaN }), 'position.wakeAt')
    refusesToWrite(at({ ...loop, iteration: 4294967296 }), 'position.iteration must be at most')
    refusesToWrite(at({ ...loop, iteration: 1.5 }), 'position.iteration')
    refusesToWrite(at({ kind: 'at-sea' }), 'position.kind')
    refusesToWrite({ createdAt: -1 }, 'createdAt')
    refusesToWrite({ instanceId: '\ud800' }, 'instanceId')
    refusesToWrite({ initialInput: 'text' }, 'initialInput')
    refusesToWrite({ priority: 6 }, 'priority')
    refusesToWrite({ state: { status: 'in-progress' } }, 'state')
    refusesToWrite({ loopIterations: new Map([['l', 4294967296]]) }, 'loopIterations')
  })
})
