import type { Branches, JoinTask, PendingTask, Position, TaskResult } from './position.ts'
import type { HeadState, RetryPolicy, SnapshotHead, TaskDeadline, TaskRetry } from './snapshot.ts'
import { STORED_ELSEWHERE } from './stored-elsewhere.ts'

/** An object of parsed JSON. */
export type Fields = Readonly<Record<string, unknown>>

/** What of a head the columns do not have. */
type HeadFields = Pick<
  SnapshotHead,
  'state' | 'priority' | 'tags' | 'deadline' | 'retries' | 'loopIterations' | 'traceParent'
>

/**
 * The fields of a record, and `finalOutput` from its column. Checks the shape, since anything may
 * have written to the store, but not the limits of the contract: those were checked on the way in.
 * Throws `TypeError`, naming the place.
 */
export function readHead(from: Fields, finalOutput: Uint8Array | null): HeadFields {
  return {
    state: readState(from, finalOutput),
    priority: integerOrNull(from.priority, 'priority'),
    tags: from.tags === undefined ? [] : strings(from.tags, 'tags'),
    deadline: from.deadline === undefined ? null : readDeadline(fields(from.deadline, 'deadline')),
    retries: map(from.retries, 'retries', (pair) => readRetry(fields(pair[1], 'retries'))),
    loopIterations: map(from.loops, 'loops', (pair) => integer(pair[1], 'loops')),
    traceParent: stringOrNull(from.trace, 'trace'),
  }
}

function readState(from: Fields, finalOutput: Uint8Array | null): HeadState {
  const { status } = from
  switch (status) {
    case 'in-progress':
      return { status, ...readPlace(from) }
    case 'completed':
      if (finalOutput === null)
        throw new TypeError('the final output of a completed instance is missing')
      return { status, finalOutput }
    case 'failed':
      return { status, error: string(from.error, 'error') }
    case 'cancelled':
      return {
        status,
        reason: stringOrNull(from.reason, 'reason'),
        cancelledBy: stringOrNull(from.by, 'by'),
        cancelledAt: integer(from.at, 'at'),
        interruptedAtTask: stringOrNull(from.interrupted, 'interrupted'),
      }
    case 'paused':
      return {
        status,
        reason: stringOrNull(from.reason, 'reason'),
        pausedBy: stringOrNull(from.by, 'by'),
        pausedAt: integer(from.at, 'at'),
        ...readPlace(from),
      }
    default:
      throw new TypeError('status is none that is known')
  }
}

function readPlace(from: Fields): { position: Position; lastCompletedTaskId: string | null } {
  return {
    position: readPosition(fields(from.position, 'position')),
    lastCompletedTaskId: stringOrNull(from.last, 'last'),
  }
}

function readPosition(from: Fields): Position {
  const { kind } = from
  switch (kind) {
    case 'not-started':
      return { kind }
    case 'at-task':
      return { kind, taskId: string(from.taskId, 'position.taskId') }
    case 'at-delay':
      return {
        kind,
        delayId: string(from.delayId, 'position.delayId'),
        enteredAt: integer(from.enteredAt, 'position.enteredAt'),
        wakeAt: integer(from.wakeAt, 'position.wakeAt'),
        nextTaskId: stringOrNull(from.nextTaskId, 'position.nextTaskId'),
      }
    case 'at-signal':
      return {
        kind,
        signalId: string(from.signalId, 'position.signalId'),
        signalName: string(from.signalName, 'position.signalName'),
        wakeAt: integerOrNull(from.wakeAt, 'position.wakeAt'),
        nextTaskId: stringOrNull(from.nextTaskId, 'position.nextTaskId'),
      }
    case 'at-fork':
      return {
        kind,
        forkId: string(from.forkId, 'position.forkId'),
        pendingTasks: list(from.pendingTasks, 'position.pendingTasks').map(readPendingTask),
        join: from.join === undefined ? null : readTask(fields(from.join, 'position.join')),
        completedBranches: readBranches(from.completedBranches),
        wakeAt: integerOrNull(from.wakeAt, 'position.wakeAt'),
      }
    case 'at-join':
      return {
        kind,
        joinId: string(from.joinId, 'position.joinId'),
        completedBranches: readBranches(from.completedBranches),
      }
    case 'in-loop':
      return {
        kind,
        loopId: string(from.loopId, 'position.loopId'),
        iteration: integer(from.iteration, 'position.iteration'),
        nextTaskId: stringOrNull(from.nextTaskId, 'position.nextTaskId'),
      }
    default:
      throw new TypeError('position.kind is none that is known')
  }
}

function readTask(from: Fields): JoinTask {
  const { taskId, priority, tags } = from
  return {
    taskId: string(taskId, 'taskId of a task'),
    ...(priority === undefined ? undefined : { priority: integer(priority, 'priority of a task') }),
    ...(tags === undefined ? undefined : { tags: strings(tags, 'tags of a task') }),
  }
}

function readPendingTask(value: unknown): PendingTask {
  const from = fields(value, 'position.pendingTasks')
  const { branch, inputTaskId, availableAt } = from
  return {
    ...readTask(from),
    ...(branch === undefined ? undefined : { branch: string(branch, 'branch of a task') }),
    ...(inputTaskId === undefined
      ? undefined
      : { inputTaskId: string(inputTaskId, 'inputTaskId of a task') }),
    ...(availableAt === undefined
      ? undefined
      : { availableAt: integer(availableAt, 'availableAt of a task') }),
  }
}

function readBranches(value: unknown): Branches {
  return map(
    value,
    'position.completedBranches',
    ([, taskId, output]): TaskResult => ({
      taskId: string(taskId, 'taskId of a branch'),
      output: output === undefined ? STORED_ELSEWHERE : bytes(output, 'output of a branch'),
    }),
  )
}

function readDeadline(from: Fields): TaskDeadline {
  return {
    taskId: string(from.taskId, 'deadline.taskId'),
    deadlineAt: integer(from.deadlineAt, 'deadline.deadlineAt'),
    timeoutMs: integer(from.timeoutMs, 'deadline.timeoutMs'),
  }
}

function readRetry(from: Fields): TaskRetry {
  const { policy } = from
  return {
    attempts: integer(from.attempts, 'retries.attempts'),
    lastError: string(from.lastError, 'retries.lastError'),
    lastFailedWorker: stringOrNull(from.lastFailedWorker, 'retries.lastFailedWorker'),
    nextRetryAt: integer(from.nextRetryAt, 'retries.nextRetryAt'),
    ...(policy === undefined
      ? undefined
      : { policy: readPolicy(fields(policy, 'retries.policy')) }),
  }
}

function readPolicy(from: Fields): RetryPolicy {
  const { backoffMultiplier, maxDelayMs } = from
  if (typeof backoffMultiplier !== 'number' || !Number.isFinite(backoffMultiplier)) {
    throw new TypeError('retries.policy.backoffMultiplier must be a finite number')
  }
  return {
    maxRetries: integer(from.maxRetries, 'retries.policy.maxRetries'),
    initialDelayMs: integer(from.initialDelayMs, 'retries.policy.initialDelayMs'),
    backoffMultiplier,
    maxDelayMs: maxDelayMs === null ? null : integer(maxDelayMs, 'retries.policy.maxDelayMs'),
  }
}

/** An object. */
export function fields(value: unknown, name: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  throw new TypeError(`${name} must be an object`)
}

function string(value: unknown, name: string): string {
  if (typeof value === 'string') return value
  throw new TypeError(`${name} must be a string`)
}

function stringOrNull(value: unknown, name: string): string | null {
  return value === undefined ? null : string(value, name)
}

/** A whole number, 0 or more: every number of a head but a policy's multiplier is one. */
function integer(value: unknown, name: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number
  throw new TypeError(`${name} must be a whole number, 0 or more`)
}

function integerOrNull(value: unknown, name: string): number | null {
  return value === undefined ? null : integer(value, name)
}

/** An array; an empty one is left out. */
function list(value: unknown, name: string): readonly unknown[] {
  if (value === undefined) return []
  if (Array.isArray(value)) return value
  throw new TypeError(`${name} must be an array`)
}

function strings(value: unknown, name: string): readonly string[] {
  return list(value, name).map((one) => string(one, name))
}

/** A map from its entries, each an array that begins with the key. */
function map<T>(
  value: unknown,
  name: string,
  read: (entry: readonly unknown[]) => T,
): Map<string, T> {
  const result = new Map<string, T>()
  for (const entry of list(value, name)) {
    const tuple = list(entry, name)
    const key = string(tuple[0], name)
    if (result.has(key)) throw new TypeError(`${name} must have each key once`)
    result.set(key, read(tuple))
  }
  return result
}

function bytes(value: unknown, name: string): Uint8Array {
  const text = string(value, name)
  const decoded = Buffer.from(text, 'base64')
  // Node skips over what is not base64; written back, it shows.
  if (decoded.toString('base64') !== text) throw new TypeError(`${name} must be base64`)
  return new Uint8Array(decoded)
}
