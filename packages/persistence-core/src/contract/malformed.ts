import { toHead } from '../snapshot.ts'
import { atFork, atTask } from './fixtures.ts'

/** Something that a method is given: what is right, and what must be refused. */
export interface Argument {
  readonly valid: unknown
  /** Of the wrong type, or malformed: `TypeError`. */
  readonly mistyped: readonly unknown[]
  /** A number that is out of bounds: `RangeError`. */
  readonly outOfRange: readonly number[]
  /** Wrong somewhere inside: either of the two. */
  readonly malformed: readonly unknown[]
}

/** The instance that valid arguments name. */
export const INSTANCE = 'instance-1'

/** An argument. */
export function argument(
  valid: unknown,
  mistyped: readonly unknown[],
  outOfRange: readonly number[] = [],
  malformed: readonly unknown[] = [],
): Argument {
  return { valid, mistyped, outOfRange, malformed }
}

const WRONG_IDS = [
  ...[
    '',
    'a\0',
    '\ud800',
    'a\udfff',
    'x'.repeat(257),
    `${'\u{1f600}'.repeat(64)}x`,
    '\u00e9'.repeat(129),
  ],
  ...[5, null, true, {}, ['a'], Symbol.iterator],
]
const WRONG_TEXTS = ['\ud800', 'x'.repeat(65_537), 5, true, {}, ['a']]
const WRONG_ID_LISTS = ['a', 5, null, {}, new Set(['a']), ...WRONG_IDS.map((id) => ['a', id])]
const WRONG_BYTES = [
  ...['text', null, undefined, 5, [1, 2], {}, { length: 0 }, new ArrayBuffer(1)],
  ...[
    new Uint16Array(1),
    new Uint8ClampedArray(1),
    new Int8Array(1),
    new DataView(new ArrayBuffer(1)),
  ],
]
export const NOT_NUMBERS: readonly unknown[] = ['1', null, {}, [1], true, 1n]
export const NOT_WHOLE: readonly number[] = [NaN, Infinity, -Infinity, 1.5, -1]
const NOT_POSITIVE = [0, -0, -1, -0.5, NaN, Infinity, -Infinity]

export const ID: Argument = argument(INSTANCE, [undefined, ...WRONG_IDS])
export const TASK_ID: Argument = { ...ID, valid: 'a' }
export const WORKER_ID: Argument = { ...ID, valid: 'worker-1' }
export const NAME: Argument = { ...ID, valid: 'go' }
export const OPTIONAL_ID: Argument = argument(
  undefined,
  WRONG_IDS.filter((id) => id !== null),
)
export const TEXT_OR_NULL: Argument = argument(undefined, WRONG_TEXTS)
export const BYTES: Argument = argument(new Uint8Array([1]), WRONG_BYTES)
export const FLAG: Argument = argument(undefined, ['yes', 1, 0, null, {}])
export const TTL: Argument = argument(60_000, [undefined, ...NOT_NUMBERS], NOT_POSITIVE)
export const TTL_OR_NULL: Argument = argument(
  60_000,
  TTL.mistyped.filter((ms) => ms !== null),
  NOT_POSITIVE,
)
export const DELAY: Argument = argument(
  0,
  [undefined, ...NOT_NUMBERS],
  [-1, -0.5, NaN, Infinity, -Infinity],
)
export const TASK_LIMIT: Argument = argument(
  1,
  [undefined, ...NOT_NUMBERS],
  [0, 1001, ...NOT_WHOLE],
)
export const OPTIONAL_LIMIT: Argument = argument(undefined, NOT_NUMBERS, [0, ...NOT_WHOLE])
export const TAGS: Argument = argument(undefined, WRONG_ID_LISTS)
export const CLAIM: Argument = argument(
  { instanceId: INSTANCE, taskId: 'a', workerId: 'worker-1', token: 1 },
  [
    ...['a', 5, null, {}],
    { instanceId: INSTANCE, taskId: 'a' },
    { instanceId: INSTANCE, workerId: 'w' },
    { taskId: 'a', workerId: 'w' },
    ...WRONG_IDS.map((id) => ({ instanceId: INSTANCE, taskId: 'a', workerId: id })),
    ...WRONG_IDS.map((id) => ({ instanceId: INSTANCE, taskId: id, workerId: 'w' })),
    ...WRONG_IDS.map((id) => ({ instanceId: id, taskId: 'a', workerId: 'w' })),
    ...NOT_NUMBERS.map((token) => ({ instanceId: INSTANCE, taskId: 'a', workerId: 'w', token })),
  ],
)

const STATE = atTask(INSTANCE).state
const FORK = atFork(INSTANCE, ['b']).state
const withState = (change: object): object => ({
  ...atTask(INSTANCE),
  state: { ...STATE, ...change },
})
const atPosition = (position: unknown): object => withState({ position })
const atForkOf = (change: object): object =>
  atPosition({ ...('position' in FORK ? FORK.position : {}), ...change })
const result = (taskId: unknown, output: unknown): ReadonlyMap<unknown, unknown> =>
  new Map([[taskId, { taskId, output }]])
const RETRY = { attempts: 1, lastError: 'x', lastFailedWorker: null, nextRetryAt: 1 }

/** Snapshots that are malformed somewhere. */
const WRONG_SNAPSHOTS: readonly unknown[] = [
  ...[undefined, null, 5, 'snapshot', {}, [], toHead(atTask(INSTANCE))],
  ...WRONG_IDS.map((instanceId) => ({ ...atTask(INSTANCE), instanceId })),
  ...WRONG_IDS.map((definitionHash) => ({ ...atTask(INSTANCE), definitionHash })),
  ...[-1, 1.5, NaN, '1', null, undefined].map((revision) => ({ ...atTask(INSTANCE), revision })),
  ...[-1, 1.5, NaN, '1'].map((createdAt) => ({ ...atTask(INSTANCE), createdAt })),
  ...[-1, NaN, new Date(0)].map((updatedAt) => ({ ...atTask(INSTANCE), updatedAt })),
  ...['text', [1], new Uint16Array(1)].map((initialInput) => ({
    ...atTask(INSTANCE),
    initialInput,
  })),
  ...[0, 6, 2.5, '3'].map((priority) => ({ ...atTask(INSTANCE), priority })),
  ...[...WRONG_ID_LISTS, Array.from({ length: 33 }, (_, tag) => `t${tag}`)].map((tags) => ({
    ...atTask(INSTANCE),
    tags,
  })),
  ...[
    'soon',
    { taskId: 'a', deadlineAt: -1, timeoutMs: 1 },
    { taskId: '', deadlineAt: 1, timeoutMs: 1 },
    { taskId: 'a', deadlineAt: 1, timeoutMs: NaN },
  ].map((deadline) => ({ ...atTask(INSTANCE), deadline })),
  ...[
    {},
    [],
    null,
    new Map([['', RETRY]]),
    new Map([['a', { ...RETRY, attempts: 0 }]]),
    new Map([['a', { ...RETRY, lastError: '\ud800' }]]),
    new Map([['a', { ...RETRY, nextRetryAt: NaN }]]),
  ].map((retries) => ({ ...atTask(INSTANCE), retries })),
  ...[{}, null, new Map([['', 1]]), new Map([['l', -1]]), new Map([['l', 1.5]])].map(
    (loopIterations) => ({ ...atTask(INSTANCE), loopIterations }),
  ),
  ...WRONG_TEXTS.map((traceParent) => ({ ...atTask(INSTANCE), traceParent })),
  ...[undefined, null, 'completed'].map((state) => ({ ...atTask(INSTANCE), state })),
  ...['running', '', 'in_progress', null, undefined, 5].map((status) => withState({ status })),
  ...[
    undefined,
    null,
    {},
    [],
    [['a', { taskId: 'a', output: new Uint8Array(0) }]],
    result('', new Uint8Array(0)),
    result('a', 'text'),
    result('a', undefined),
    new Map([['a', null]]),
    new Map([['a', { taskId: 'b', output: new Uint8Array(0) }]]),
  ].map((completedTasks) => withState({ completedTasks })),
  ...WRONG_IDS.filter((id) => id !== null).map((id) => withState({ lastCompletedTaskId: id })),
  ...WRONG_BYTES.map((finalOutput) => withState({ status: 'completed', finalOutput })),
  ...[...WRONG_TEXTS, null, undefined].map((error) => withState({ status: 'failed', error })),
  ...WRONG_TEXTS.map((reason) => withState({ status: 'cancelled', cancelledAt: 1, reason })),
  ...[-1, NaN, '1', null].map((cancelledAt) => withState({ status: 'cancelled', cancelledAt })),
  ...[-1, NaN, '1', null].map((pausedAt) => withState({ status: 'paused', pausedAt })),
  ...[undefined, null, 'at-task', {}, { kind: 'nowhere' }].map(atPosition),
  ...WRONG_IDS.map((taskId) => atPosition({ kind: 'at-task', taskId })),
  ...[-1, NaN, null, undefined, '1'].map((wakeAt) =>
    atPosition({ kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt, nextTaskId: 'a' }),
  ),
  ...[-1, NaN, '1'].map((wakeAt) =>
    atPosition({ kind: 'at-signal', signalId: 's', signalName: 'go', wakeAt, nextTaskId: 'a' }),
  ),
  ...['', 5, null].map((signalName) =>
    atPosition({ kind: 'at-signal', signalId: 's', signalName, wakeAt: null, nextTaskId: 'a' }),
  ),
  ...[-1, 1.5, '1', null].map((iteration) =>
    atPosition({ kind: 'in-loop', loopId: 'l', iteration, nextTaskId: 'a' }),
  ),
  ...[{}, null, result('', new Uint8Array(0)), result('a', 'text')].map((completedBranches) =>
    atPosition({ kind: 'at-join', joinId: 'j', completedBranches }),
  ),
  ...[
    null,
    'a',
    [null],
    ['a'],
    [{ taskId: '' }],
    [{ taskId: 'a' }, { taskId: 'a', branch: 'x' }],
    [
      { taskId: 'a', branch: 'x' },
      { taskId: 'b', branch: 'x' },
    ],
    [{ taskId: 'a', priority: 0 }],
    [{ taskId: 'a', tags: [''] }],
    [{ taskId: 'a', availableAt: -1 }],
    [{ taskId: 'a', inputTaskId: '' }],
    Array.from({ length: 1001 }, (_, index) => ({ taskId: `t${index}` })),
  ].map((pendingTasks) => atForkOf({ pendingTasks })),
  ...[null, undefined, 'join', {}, { taskId: 'j', priority: 9 }].map((join) => atForkOf({ join })),
  atForkOf({ completedBranches: new Map([['b', { taskId: 'x', output: new Uint8Array(0) }]]) }),
]

const completed = (next: unknown, output: unknown = new Uint8Array(1)): object => ({
  kind: 'completed',
  output,
  next,
})
const NEXT = { position: { kind: 'at-task', taskId: 'b' } }
const goTo = (position: unknown): object => completed({ position })

/** Outcomes that are malformed somewhere. */
const WRONG_OUTCOMES: readonly unknown[] = [
  ...[
    undefined,
    null,
    'completed',
    {},
    { kind: 'done' },
    { kind: 'failed' },
    { kind: 'retry', error: 'x' },
  ],
  ...[...WRONG_TEXTS, null].map((error) => ({ kind: 'failed', error })),
  ...DELAY.mistyped.map((delayMs) => ({ kind: 'retry', error: 'x', delayMs })),
  ...DELAY.outOfRange.map((delayMs) => ({ kind: 'retry', error: 'x', delayMs })),
  ...[0, -1, 1.5, NaN, '1', null].map((maxAttempts) => ({
    kind: 'retry',
    error: 'x',
    delayMs: 0,
    maxAttempts,
  })),
  ...WRONG_BYTES.filter((output) => output !== undefined).map((output) => completed(NEXT, output)),
  { kind: 'completed', next: NEXT },
  ...[
    undefined,
    null,
    {},
    'b',
    { ...NEXT, finalOutput: new Uint8Array(0) },
    { ...NEXT, branch: null },
    { finalOutput: 'text' },
  ].map((next) => completed(next)),
  ...[null, {}, { kind: 'nowhere' }, { kind: 'at-task' }].map(goTo),
  ...[undefined, ...NOT_NUMBERS, -1, NaN, Infinity].map((delayMs) =>
    goTo({ kind: 'at-delay', delayId: 'd', delayMs, nextTaskId: 'b' }),
  ),
  ...['1', -1, NaN, Infinity].map((timeoutMs) =>
    goTo({ kind: 'at-signal', signalId: 's', signalName: 'go', timeoutMs, nextTaskId: 'b' }),
  ),
  ...['', '\ud800', 5, null].map((signalName) =>
    goTo({ kind: 'at-signal', signalId: 's', signalName, timeoutMs: null, nextTaskId: 'b' }),
  ),
  ...[
    null,
    [{ taskId: '' }],
    [{ taskId: 'x' }, { taskId: 'x' }],
    [{ taskId: 'x', delayMs: -1 }],
    [{ taskId: 'x', priority: 0 }],
  ].map((pendingTasks) =>
    goTo({ kind: 'at-fork', forkId: 'f', pendingTasks, join: { taskId: 'j' } }),
  ),
  goTo({ kind: 'at-fork', forkId: 'f', pendingTasks: [{ taskId: 'x' }], join: null }),
  goTo({ kind: 'in-loop', loopId: 'l', iteration: -1, nextTaskId: 'b' }),
  ...[0, 6, '1'].map((priority) => completed({ ...NEXT, priority })),
  ...WRONG_ID_LISTS.map((tags) => completed({ ...NEXT, tags })),
  ...['', {}, 5].map((branch) => completed({ branch })),
]

export const SNAPSHOT: Argument = argument(atTask(INSTANCE), [], [], WRONG_SNAPSHOTS)
export const OUTCOME: Argument = argument(completed(NEXT), [], [], WRONG_OUTCOMES)
