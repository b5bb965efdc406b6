import fc from 'fast-check'
import { MAX_ID_BYTES, MAX_TIME } from '../check.ts'
import { MAX_U32 } from '../envelope-fields.ts'
import { MAX_INSTANT } from '../instant.ts'
import type { Branches, JoinTask, PendingTask, Position, TaskResult } from '../position.ts'
import type {
  CompletedTasks,
  TaskDeadline,
  TaskRetry,
  WorkflowSnapshot,
  WorkflowState,
} from '../snapshot.ts'

/** Ids that are likely to break some object, pattern, path, query or order. */
const AWKWARD_IDS: readonly string[] = [
  ...'__proto__ constructor toString null undefined'.split(' '),
  // An object would sort these, and before all others.
  ...'2 1 10 -1'.split(' '),
  ...'% _ %_% * ? [a-z] {} {tag} a:b a::b : a.b . .. a/b a\\b $where $$NOW #key'.split(' '),
  ...`' ';-- " \``.split(' '),
  // Stores that fold case or normalise take these for the same.
  ...'a A ß é e\u0301'.split(' '),
  // In UTF-16 the first of the two comes after the second, in UTF-8 before it.
  ...'\uff5e \u{1f600}'.split(' '),
  ...[' ', ' a ', 'a\nb', '\t', '\u0001', '\u007f', '\u2028', '\ufeff', '\uffff', '\u{10ffff}'],
  'a'.repeat(MAX_ID_BYTES),
  '\u{1f600}'.repeat(MAX_ID_BYTES / 4),
]

/** Objects as a literal makes them: a comparison should not trip over a missing prototype. */
const PLAIN = { noNullPrototype: true } as const

/** Any id that the contract allows: any Unicode but U+0000, and ids that are likely to break something. */
export function arbitraryId(): fc.Arbitrary<string> {
  return fc.oneof(
    fc.constantFrom(...AWKWARD_IDS),
    // A code point takes four bytes at most.
    fc
      .string({ unit: 'binary', minLength: 1, maxLength: MAX_ID_BYTES / 4 })
      .map((id) => id.replaceAll('\0', '0')),
    fc.string({ minLength: 1, maxLength: 12 }),
  )
}

/** Any payload: none, a few, all byte values, or some thousand bytes. */
export function arbitraryPayload(): fc.Arbitrary<Uint8Array> {
  return fc.oneof(
    fc.constantFrom(
      new Uint8Array(0),
      Uint8Array.from({ length: 256 }, (_, byte) => byte),
    ),
    fc.uint8Array({ maxLength: 64 }),
    fc.uint8Array({ minLength: 32, maxLength: 4096 }),
  )
}

/** Any position, with absolute times in the years 1970 to 9999. */
export function arbitraryPosition(): fc.Arbitrary<Position> {
  const id = arbitraryId()
  const time = arbitraryTime()
  const nextTaskId = fc.option(id)
  const completedBranches = arbitraryBranches()
  return fc.oneof(
    fc.record({ kind: fc.constant('not-started' as const) }, PLAIN),
    fc.record({ kind: fc.constant('at-task' as const), taskId: id }, PLAIN),
    fc.record(
      {
        kind: fc.constant('at-delay' as const),
        delayId: id,
        enteredAt: time,
        wakeAt: time,
        nextTaskId,
      },
      PLAIN,
    ),
    fc.record(
      {
        kind: fc.constant('at-signal' as const),
        signalId: id,
        signalName: id,
        wakeAt: fc.option(time),
        nextTaskId,
      },
      PLAIN,
    ),
    arbitraryFork(),
    fc.record({ kind: fc.constant('at-join' as const), joinId: id, completedBranches }, PLAIN),
    fc.record(
      {
        kind: fc.constant('in-loop' as const),
        loopId: id,
        iteration: fc.nat(MAX_U32),
        nextTaskId,
      },
      PLAIN,
    ),
  )
}

/** Any snapshot that `saveSnapshot` and `encodeSnapshot` take, in every state and at every position. */
export function arbitrarySnapshot(): fc.Arbitrary<WorkflowSnapshot> {
  return fc.record(
    {
      instanceId: arbitraryId(),
      definitionHash: arbitraryId(),
      revision: fc.maxSafeNat(),
      createdAt: arbitraryTime(),
      updatedAt: arbitraryTime(),
      initialInput: fc.option(arbitraryPayload()),
      state: arbitraryState(),
      priority: fc.option(arbitraryPriority()),
      tags: arbitraryTags(),
      deadline: fc.option(arbitraryDeadline()),
      retries: arbitraryMap(arbitraryRetry()),
      loopIterations: arbitraryMap(fc.nat(MAX_U32)),
      traceParent: fc.option(arbitraryTraceParent()),
    },
    PLAIN,
  )
}

function arbitraryTime(): fc.Arbitrary<number> {
  return fc.oneof(
    fc.constantFrom(0, MAX_INSTANT),
    fc.integer({ min: 0, max: MAX_INSTANT }),
    // Whole seconds, which some forms write differently.
    fc.integer({ min: 0, max: 4_000_000_000 }).map((seconds) => seconds * 1000),
  )
}

function arbitraryDuration(): fc.Arbitrary<number> {
  return fc.oneof(fc.nat(100_000), fc.integer({ min: 0, max: MAX_TIME }))
}

function arbitraryText(): fc.Arbitrary<string> {
  return fc.oneof(
    fc.constantFrom('', 'boom', 'at line 1\n\tat line 2', 'nul \0 and \u{1f600}'),
    fc.string({ unit: 'binary', maxLength: 200 }),
  )
}

function arbitraryPriority(): fc.Arbitrary<number> {
  return fc.integer({ min: 1, max: 5 })
}

function arbitraryTags(): fc.Arbitrary<readonly string[]> {
  return fc.array(arbitraryId(), { maxLength: 32, size: 'small' })
}

function arbitraryMap<T>(value: fc.Arbitrary<T>): fc.Arbitrary<ReadonlyMap<string, T>> {
  return fc
    .uniqueArray(fc.tuple(arbitraryId(), value), { selector: ([id]) => id, maxLength: 8 })
    .map((entries) => new Map(entries))
}

/** Results by their task, in any order. */
function arbitraryCompletedTasks(): fc.Arbitrary<CompletedTasks> {
  return arbitraryMap(arbitraryPayload()).map(
    (outputs) =>
      new Map(
        Array.from(outputs, ([taskId, output]): [string, TaskResult] => [
          taskId,
          { taskId, output },
        ]),
      ),
  )
}

/** Results by branch label, which need not be a task's id. */
function arbitraryBranches(): fc.Arbitrary<Branches> {
  return arbitraryMap(fc.record({ taskId: arbitraryId(), output: arbitraryPayload() }, PLAIN))
}

function arbitraryJoin(): fc.Arbitrary<JoinTask> {
  return fc.record(
    { taskId: arbitraryId(), priority: arbitraryPriority(), tags: arbitraryTags() },
    { ...PLAIN, requiredKeys: ['taskId'] },
  )
}

function arbitraryPendingTask(): fc.Arbitrary<PendingTask> {
  return fc.record(
    {
      taskId: arbitraryId(),
      branch: arbitraryId(),
      inputTaskId: arbitraryId(),
      priority: arbitraryPriority(),
      tags: arbitraryTags(),
      availableAt: arbitraryTime(),
    },
    { ...PLAIN, requiredKeys: ['taskId'] },
  )
}

function arbitraryFork(): fc.Arbitrary<Position> {
  return fc
    .record(
      {
        kind: fc.constant('at-fork' as const),
        forkId: arbitraryId(),
        pendingTasks: fc.uniqueArray(arbitraryPendingTask(), {
          selector: (task) => task.taskId,
          maxLength: 5,
        }),
        join: fc.option(arbitraryJoin()),
        completedBranches: arbitraryBranches(),
        wakeAt: fc.option(arbitraryTime()),
        onlyJoin: arbitraryJoin(),
      },
      PLAIN,
    )
    .map(({ onlyJoin, ...fork }) => {
      const labels = new Set(fork.completedBranches.keys())
      const pendingTasks = fork.pendingTasks.filter((task) => {
        const label = task.branch ?? task.taskId
        return !labels.has(label) && labels.add(label)
      })
      // What is pending needs a join to lead to.
      return { ...fork, pendingTasks, join: pendingTasks.length > 0 ? onlyJoin : fork.join }
    })
}

function arbitraryDeadline(): fc.Arbitrary<TaskDeadline> {
  return fc.record(
    {
      taskId: arbitraryId(),
      deadlineAt: arbitraryTime(),
      timeoutMs: arbitraryDuration(),
    },
    PLAIN,
  )
}

function arbitraryRetry(): fc.Arbitrary<TaskRetry> {
  return fc.record(
    {
      attempts: fc.integer({ min: 1, max: MAX_U32 }),
      lastError: arbitraryText(),
      lastFailedWorker: fc.option(arbitraryId()),
      nextRetryAt: arbitraryTime(),
      policy: fc.record(
        {
          maxRetries: fc.nat(MAX_U32),
          initialDelayMs: arbitraryDuration(),
          backoffMultiplier: fc.oneof(
            fc.constantFrom(0, 1, 1.5, 2, 1e21, 1e-7),
            fc.double({ min: 0, max: 100, noNaN: true }),
          ),
          maxDelayMs: fc.option(arbitraryDuration()),
        },
        PLAIN,
      ),
    },
    { ...PLAIN, requiredKeys: ['attempts', 'lastError', 'lastFailedWorker', 'nextRetryAt'] },
  )
}

function arbitraryTraceParent(): fc.Arbitrary<string> {
  const hex = (length: number): fc.Arbitrary<string> =>
    fc.string({
      unit: fc.constantFrom(...'0123456789abcdef'),
      minLength: length,
      maxLength: length,
    })
  return fc.tuple(hex(32), hex(16)).map(([trace, span]) => `00-${trace}-${span}-01`)
}

function arbitraryState(): fc.Arbitrary<WorkflowState> {
  const textOrNull = fc.option(arbitraryText())
  const completedTasks = arbitraryCompletedTasks()
  const place = fc
    .record({ position: arbitraryPosition(), completedTasks, pick: fc.option(fc.nat()) }, PLAIN)
    .map(({ position, completedTasks, pick }) => {
      const ids = [...completedTasks.keys()]
      const lastCompletedTaskId = pick === null ? null : (ids[pick % ids.length] ?? null)
      return { position, completedTasks, lastCompletedTaskId }
    })
  return fc.oneof(
    {
      weight: 3,
      arbitrary: place.map((at) => ({ status: 'in-progress' as const, ...at })),
    },
    fc.record(
      {
        status: fc.constant('completed' as const),
        finalOutput: arbitraryPayload(),
        completedTasks,
      },
      PLAIN,
    ),
    fc.record(
      { status: fc.constant('failed' as const), error: arbitraryText(), completedTasks },
      PLAIN,
    ),
    fc.record(
      {
        status: fc.constant('cancelled' as const),
        reason: textOrNull,
        cancelledBy: textOrNull,
        cancelledAt: arbitraryTime(),
        interruptedAtTask: fc.option(arbitraryId()),
        completedTasks,
      },
      PLAIN,
    ),
    fc
      .record(
        { at: place, reason: textOrNull, pausedBy: textOrNull, pausedAt: arbitraryTime() },
        PLAIN,
      )
      .map(({ at, ...rest }) => ({ status: 'paused' as const, ...rest, ...at })),
  )
}
