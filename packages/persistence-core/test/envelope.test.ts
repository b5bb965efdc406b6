import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkSnapshot } from '../src/check-snapshot.ts'
import { arbitrarySnapshot } from '../src/contract/arbitraries.ts'
import { decodeSnapshot, encodeSnapshot } from '../src/envelope.ts'
import type { WorkflowSnapshot } from '../src/snapshot.ts'
import { envelope, HEADER } from './envelopes.ts'
import { fromMeaning, samples } from './interop.ts'
import { ordered } from './ordered.ts'

const decoder = new TextDecoder()
const encoder = new TextEncoder()

const jsonOf = (bytes: Uint8Array): string => decoder.decode(bytes.subarray(HEADER.length))

function expectSame(actual: WorkflowSnapshot, expected: WorkflowSnapshot): void {
  expect(ordered(actual)).toStrictEqual(ordered(expected))
}

/** The JSON without the fields that the Rust form does not have. */
function withoutOurs(json: string): unknown {
  const ours =
    /^(revision|created_at_ms|updated_at_ms|trace_parent|pending_tasks|join|no_wake_at|no_policy)$/
  return JSON.parse(json, (key, value) => (ours.test(key) ? undefined : value))
}

describe('snapshots of the Rust engine', () => {
  test('are there, in every state and at most positions', () => {
    const seen = new Set(
      samples.map(({ bytes }) => {
        const { state } = decodeSnapshot(bytes)
        return state.status === 'in-progress' ? state.position.kind : state.status
      }),
    )
    expect([...seen].toSorted()).toEqual(
      [
        ...['at-delay', 'at-signal', 'at-task', 'cancelled', 'completed', 'failed', 'in-loop'],
        ...['paused'],
      ].toSorted(),
    )
  })

  test.each(samples)('$name is read as what it means', ({ bytes, meaning }) => {
    expectSame(decodeSnapshot(bytes), fromMeaning(meaning.snapshot))
  })

  test.each(samples)('$name is written back byte for byte, to the millisecond', ({ bytes }) => {
    const written = encodeSnapshot(decodeSnapshot(bytes))
    expect([...written.subarray(0, 6)]).toEqual(HEADER)
    expect(jsonOf(written)).toBe(jsonOf(bytes).replaceAll(/(:\d\d\.\d{3})\d{6}Z"/g, '$1Z"'))
  })
})

describe('any snapshot', () => {
  test('comes back the same, with every map in its order', () => {
    fc.assert(
      fc.property(arbitrarySnapshot(), (snapshot) => {
        expectSame(decodeSnapshot(encodeSnapshot(snapshot)), snapshot)
      }),
      { numRuns: 1000 },
    )
  })

  test('comes back valid: every backend takes it', () => {
    fc.assert(
      fc.property(arbitrarySnapshot(), (snapshot) => {
        const decoded = decodeSnapshot(encodeSnapshot(snapshot))
        expectSame(checkSnapshot(decoded, 4096), decoded)
      }),
    )
  })

  test('has all that the Rust form requires, and what we add is apart from it', () => {
    fc.assert(
      fc.property(arbitrarySnapshot(), (snapshot) => {
        const rust = withoutOurs(jsonOf(encodeSnapshot(snapshot))) as Record<string, unknown>
        expect(decodeSnapshot(envelope(JSON.stringify(rust))).instanceId).toBe(snapshot.instanceId)
        expect(rust.created_at).toBe(Math.floor(snapshot.createdAt / 1000))
        for (const retry of Object.values((rust.task_retries ?? {}) as Record<string, object>)) {
          expect(retry).toHaveProperty('policy.max_retries')
        }
        const state = Object.values(rust.state as object)[0] as Record<string, object>
        if (Object.hasOwn(state.position ?? {}, 'AtFork')) {
          expect(state.position).toHaveProperty('AtFork.wake_at', expect.any(String))
        }
      }),
    )
  })

  test('is not changed by being written', () => {
    fc.assert(
      fc.property(arbitrarySnapshot(), (snapshot) => {
        const before = structuredClone(snapshot)
        encodeSnapshot(snapshot)
        expectSame(snapshot, before)
      }),
    )
  })
})

describe('the form', () => {
  const base = decodeSnapshot(
    envelope(
      '{"instance_id":"i","definition_hash":"d","state":{"Failed":{"error":"e"}},"created_at":1,"updated_at":2}',
    ),
  )
  const rest = '"created_at":1,"updated_at":2}'

  test('has defaults for what only we write', () => {
    expectSame(base, {
      instanceId: 'i',
      definitionHash: 'd',
      revision: 0,
      createdAt: 1000,
      updatedAt: 2000,
      initialInput: null,
      state: { status: 'failed', error: 'e', completedTasks: new Map() },
      priority: null,
      tags: [],
      deadline: null,
      retries: new Map(),
      loopIterations: new Map(),
      traceParent: null,
    })
  })

  test('writes every field in the order of the Rust form, then ours', () => {
    const output = Uint8Array.of(0, 9, 10, 99, 100, 255)
    const full: WorkflowSnapshot = {
      ...base,
      revision: 7,
      createdAt: 1001,
      updatedAt: 2002,
      initialInput: new Uint8Array(0),
      state: {
        status: 'in-progress',
        position: {
          kind: 'at-fork',
          forkId: 'f',
          pendingTasks: [
            { taskId: 'a' },
            { taskId: 'b', branch: 'B', inputTaskId: 'x', priority: 1, tags: [], availableAt: 5 },
          ],
          join: { taskId: 'j', priority: 2, tags: ['t'] },
          completedBranches: new Map([['2', { taskId: 'c', output }]]),
          wakeAt: null,
        },
        completedTasks: new Map([
          ['2', { taskId: '2', output }],
          ['1', { taskId: '1', output }],
          ['__proto__', { taskId: '__proto__', output }],
        ]),
        lastCompletedTaskId: '1',
      },
      priority: 5,
      tags: ['x', 'y'],
      deadline: { taskId: 'a', deadlineAt: 3, timeoutMs: 4 },
      retries: new Map([
        ['2', { attempts: 1, lastError: '"', lastFailedWorker: null, nextRetryAt: 6 }],
        [
          '1',
          {
            attempts: 2,
            lastError: '',
            lastFailedWorker: 'w',
            nextRetryAt: 7,
            policy: { maxRetries: 3, initialDelayMs: 1500, backoffMultiplier: 2, maxDelayMs: 0 },
          },
        ],
      ]),
      loopIterations: new Map([
        ['2', 1],
        ['1', 2],
      ]),
      traceParent: 'tp',
    }
    const result = (taskId: string): string =>
      `{"task_id":"${taskId}","output":[0,9,10,99,100,255]}`
    const time = (ms: number): string => `"1970-01-01T00:00:00.00${ms}Z"`
    expect(jsonOf(encodeSnapshot(full))).toBe(
      [
        '{"instance_id":"i","definition_hash":"d","state":{"InProgress":{"position":{"AtFork":',
        `{"fork_id":"f","completed_branches":{"2":${result('c')}},"wake_at":${time(0)},`,
        '"pending_tasks":[{"task_id":"a"},{"task_id":"b","priority":1,"tags":[],"branch":"B",',
        `"input_task_id":"x","available_at":${time(5)}}],`,
        '"join":{"task_id":"j","priority":2,"tags":["t"]},"no_wake_at":true}},"completed_tasks":',
        `{"2":${result('2')},"1":${result('1')},"__proto__":${result('__proto__')}},`,
        '"last_completed_task_id":"1"}},"created_at":1,"updated_at":2,"initial_input":[],',
        `"task_deadline":{"task_id":"a","deadline":${time(3)},"timeout_ms":4},"task_retries":`,
        '{"2":{"attempts":1,"policy":{"max_retries":4294967295,"initial_delay":{"secs":0,"nanos":0},',
        '"backoff_multiplier":1.0,"max_delay":null},"last_error":"\\"","last_failed_worker":null,',
        `"next_retry_at":${time(6)},"no_policy":true},"1":{"attempts":2,"policy":{"max_retries":3,`,
        '"initial_delay":{"secs":1,"nanos":500000000},"backoff_multiplier":2.0,',
        '"max_delay":{"secs":0,"nanos":0}},"last_error":"","last_failed_worker":"w",',
        `"next_retry_at":${time(7)}}},"loop_iterations":{"2":1,"1":2},"task_priority":5,`,
        '"task_tags":["x","y"],"revision":7,"created_at_ms":1001,"updated_at_ms":2002,',
        '"trace_parent":"tp"}',
      ].join(''),
    )
    expectSame(decodeSnapshot(encodeSnapshot(full)), full)
  })

  test('is read in any order of keys, with white space and unknown fields anywhere', () => {
    const text = `{ "new" : {"deep":[1.5,{"__proto__":null}]}, "updated_at":2, "created_at":1,
      "state":{"Failed":{"since":-1e400,"error":"e"}}, "definition_hash":"d", "instance_id":"i" }`
    expectSame(decodeSnapshot(envelope(text)), base)
  })

  test('takes bytes as numbers or as a string of UTF-8', () => {
    const read = (bytes: string): unknown => {
      const json = `{"instance_id":"i","definition_hash":"d","state":{"Completed":{"final_output":${bytes}}},${rest}`
      const { state } = decodeSnapshot(envelope(json))
      return state.status === 'completed' ? state.finalOutput : undefined
    }
    expect(read('[]')).toStrictEqual(new Uint8Array(0))
    expect(read('""')).toStrictEqual(new Uint8Array(0))
    expect(read('[0,255]')).toStrictEqual(Uint8Array.of(0, 255))
    expect(read('"\\u00e9\u{1f600}"')).toStrictEqual(encoder.encode('é\u{1f600}'))
  })

  test('takes a missing optional field for null, as the Rust reader does', () => {
    const json = `{"instance_id":"i","definition_hash":"d","state":{"InProgress":{"position":
      {"AtSignal":{"signal_id":"s","signal_name":"n"}},"completed_tasks":{}}},"task_deadline":null,${rest}`
    expectSame(decodeSnapshot(envelope(json)), {
      ...base,
      state: {
        status: 'in-progress',
        position: {
          kind: 'at-signal',
          signalId: 's',
          signalName: 'n',
          wakeAt: null,
          nextTaskId: null,
        },
        completedTasks: new Map(),
        lastCompletedTaskId: null,
      },
    })
  })

  test('trusts the seconds where the milliseconds disagree: someone changed them', () => {
    const read = (ms: number): number =>
      decodeSnapshot(
        envelope(
          `{"instance_id":"i","definition_hash":"d","state":{"Failed":{"error":"e"}},"created_at_ms":${ms},${rest}`,
        ),
      ).createdAt
    expect(read(1999)).toBe(1999)
    expect(read(2000)).toBe(1000)
    expect(read(999)).toBe(1000)
  })

  test('a payload of 1 MiB takes milliseconds', () => {
    const initialInput = Uint8Array.from(
      { length: 1 << 20 },
      (_, index) => (index * 2654435761) >>> 7,
    )
    const big = { ...base, initialInput }
    const start = process.cpuUsage()
    expectSame(decodeSnapshot(encodeSnapshot(big)), big)
    // Some 40,000 µs of the processor on a small machine, however busy that is.
    expect(process.cpuUsage(start).user).toBeLessThan(1_000_000)
  })
})
