import {
  checkBytes,
  checkId,
  checkIdOrNull,
  checkInteger,
  checkPriority,
  checkTags,
  checkText,
  checkTextOrNull,
  checkTime,
  DEFAULT_PRIORITY,
} from './check.ts'
import { checkDeadline, checkPosition } from './check-snapshot.ts'
import { BackendError, quote, terminal } from './errors.ts'
import type { Position, TaskResult } from './position.ts'
import {
  type AnySnapshot,
  isEnded,
  type TaskDeadline,
  type TaskRetry,
  type WorkflowSnapshot,
} from './snapshot.ts'

/** What a new instance starts with. */
export interface CreateSnapshotParams {
  readonly instanceId: string
  readonly definitionHash: string
  readonly initialInput?: Uint8Array | null
  /** By default `not-started`: nothing is runnable. */
  readonly position?: Position
  readonly priority?: number | null
  readonly tags?: readonly string[]
  readonly deadline?: TaskDeadline | null
  /** W3C traceparent. */
  readonly traceParent?: string | null
}

/** What belongs to the task that a position makes current. */
export interface TaskOptions {
  /** Left out: 3. */
  readonly priority?: number | null
  /** Left out: none. */
  readonly tags?: readonly string[]
  /** Left out: none. */
  readonly deadline?: TaskDeadline | null
}

/**
 * A new instance in progress, not stored yet (revision 0).
 *
 * @throws `TypeError`, `RangeError`.
 */
export function createSnapshot(params: CreateSnapshotParams): WorkflowSnapshot {
  const { initialInput, position } = params
  return {
    instanceId: checkId(params.instanceId, 'instanceId'),
    definitionHash: checkId(params.definitionHash, 'definitionHash'),
    revision: 0,
    createdAt: 0,
    updatedAt: 0,
    initialInput: initialInput == null ? null : checkBytes(initialInput, 'initialInput'),
    state: {
      status: 'in-progress',
      position:
        position === undefined ? { kind: 'not-started' } : checkPosition(position, Infinity),
      completedTasks: new Map(),
      lastCompletedTaskId: null,
    },
    priority: checkPriority(params.priority, 'priority'),
    tags: checkTags(params.tags, 'tags'),
    deadline: checkDeadline(params.deadline, 'deadline'),
    retries: new Map(),
    loopIterations: new Map(),
    traceParent: checkTextOrNull(params.traceParent, 'traceParent'),
  }
}

/**
 * Stores a task's output: it becomes the last completed task, at the end of `completedTasks`, and
 * its retry state is cleared. The position stays: `moveTo` changes it.
 *
 * @throws `TERMINAL` on an ended instance.
 */
export function completeTask<S extends AnySnapshot>(
  snapshot: S,
  taskId: string,
  output: Uint8Array,
): S {
  const state = openState(snapshot)
  const result = {
    taskId: checkId(taskId, 'taskId'),
    output: checkBytes(output, 'output'),
  }
  const completed = { ...state, lastCompletedTaskId: taskId }
  if (state.completedTasks !== undefined) {
    const completedTasks = new Map<string, TaskResult>(state.completedTasks)
    completedTasks.delete(taskId)
    completedTasks.set(taskId, result)
    Object.assign(completed, { completedTasks })
  }
  return { ...snapshot, state: completed, retries: without(snapshot.retries, taskId) } as S
}

/**
 * Moves the instance to a position, with the next task's priority, tags and deadline. Entering a
 * loop's iteration also sets `loopIterations`.
 *
 * @throws `TypeError`/`RangeError`; `TERMINAL` on an ended instance.
 */
export function moveTo<S extends AnySnapshot>(
  snapshot: S,
  position: Position,
  options: TaskOptions = {},
): S {
  const state = openState(snapshot)
  const checked = checkPosition(position, Infinity)
  const loopIterations =
    checked.kind === 'in-loop'
      ? new Map(snapshot.loopIterations).set(checked.loopId, checked.iteration)
      : snapshot.loopIterations
  return {
    ...snapshot,
    state: { ...state, position: checked },
    priority:
      options.priority === undefined
        ? DEFAULT_PRIORITY
        : checkPriority(options.priority, 'priority'),
    tags: checkTags(options.tags, 'tags'),
    deadline: checkDeadline(options.deadline, 'deadline'),
    loopIterations,
  } as S
}

/**
 * Ends the instance with its result.
 *
 * @throws `TERMINAL` if it has ended already.
 */
export function completeWorkflow<S extends AnySnapshot>(snapshot: S, finalOutput: Uint8Array): S {
  return end(snapshot, {
    status: 'completed',
    finalOutput: checkBytes(finalOutput, 'finalOutput'),
  })
}

/**
 * Ends the instance with an error; completed tasks' outputs are kept.
 *
 * @throws `TERMINAL` if it has ended already.
 */
export function failWorkflow<S extends AnySnapshot>(snapshot: S, error: string): S {
  return end(snapshot, { status: 'failed', error: checkText(error, 'error') })
}

/** Who cancels, why and when. */
export interface CancelParams {
  readonly reason?: string | null
  readonly cancelledBy?: string | null
  readonly interruptedAtTask?: string | null
  /** Epoch milliseconds. */
  readonly at: number
}

/**
 * Ends the instance as cancelled; a cancelled one stays as it is.
 *
 * @throws `CANNOT_CANCEL` on one that completed or failed.
 */
export function cancelWorkflow<S extends AnySnapshot>(snapshot: S, params: CancelParams): S {
  const { status } = snapshot.state
  if (status === 'cancelled') return snapshot
  if (isEnded(status)) throw cannotCancel(snapshot.instanceId, status)
  return end(snapshot, {
    status: 'cancelled',
    reason: checkTextOrNull(params.reason, 'reason'),
    cancelledBy: checkTextOrNull(params.cancelledBy, 'cancelledBy'),
    cancelledAt: checkTime(params.at, 'at'),
    interruptedAtTask: checkIdOrNull(params.interruptedAtTask, 'interruptedAtTask'),
  })
}

/** Who pauses, why and when. */
export interface PauseParams {
  readonly reason?: string | null
  readonly pausedBy?: string | null
  /** Epoch milliseconds. */
  readonly at: number
}

/**
 * Pauses an instance in progress; a paused one stays as it is.
 *
 * @throws `CANNOT_PAUSE` on an ended one.
 */
export function pauseWorkflow<S extends AnySnapshot>(snapshot: S, params: PauseParams): S {
  const { state } = snapshot
  if (state.status === 'paused') return snapshot
  if (state.status !== 'in-progress')
    throw cannotPause(snapshot.instanceId, `it is ${state.status}`)
  return {
    ...snapshot,
    state: {
      ...state,
      status: 'paused',
      reason: checkTextOrNull(params.reason, 'reason'),
      pausedBy: checkTextOrNull(params.pausedBy, 'pausedBy'),
      pausedAt: checkTime(params.at, 'at'),
    },
  } as S
}

/**
 * Returns a paused instance to exactly the position it had.
 *
 * @throws `CANNOT_PAUSE` on one that is not paused.
 */
export function resumeWorkflow<S extends AnySnapshot>(snapshot: S): S {
  const { state } = snapshot
  if (state.status !== 'paused')
    throw cannotPause(snapshot.instanceId, `it is ${state.status}, not paused`)
  const { reason: _, pausedBy: __, pausedAt: ___, ...rest } = state
  return { ...snapshot, state: { ...rest, status: 'in-progress' } } as S
}

/** How a run failed, and when the next may start. */
export interface RetryParams {
  readonly error: string
  readonly workerId: string | null
  /** Epoch milliseconds. */
  readonly retryAt: number
  /** Runs in all, 1 or more: when it has run so often, the workflow fails. Left out: no bound. */
  readonly maxAttempts?: number
}

/**
 * Counts a failed run and schedules the next, or fails the workflow with that error when the task
 * has run `maxAttempts` times.
 *
 * @throws `TERMINAL` on an ended instance.
 */
export function scheduleRetry<S extends AnySnapshot>(
  snapshot: S,
  taskId: string,
  params: RetryParams,
): S {
  openState(snapshot)
  const before = snapshot.retries.get(checkId(taskId, 'taskId'))
  const retry: TaskRetry = {
    attempts: (before?.attempts ?? 0) + 1,
    lastError: checkText(params.error, 'error'),
    lastFailedWorker: checkIdOrNull(params.workerId, 'workerId'),
    nextRetryAt: checkTime(params.retryAt, 'retryAt'),
    ...(before?.policy === undefined ? undefined : { policy: before.policy }),
  }
  const maxAttempts =
    params.maxAttempts === undefined ? Infinity : checkInteger(params.maxAttempts, 'maxAttempts', 1)
  const counted: S = { ...snapshot, retries: new Map(snapshot.retries).set(taskId, retry) }
  return retry.attempts >= maxAttempts ? failWorkflow(counted, params.error) : counted
}

/** The instance completed or failed already. */
export function cannotCancel(instanceId: string, status: string): BackendError {
  return new BackendError(
    'CANNOT_CANCEL',
    `instance ${quote(instanceId)} is ${status} and can not be cancelled`,
    {
      instanceId,
    },
  )
}

/** The instance can't be paused, or isn't paused. */
export function cannotPause(instanceId: string, because: string): BackendError {
  return new BackendError(
    'CANNOT_PAUSE',
    `instance ${quote(instanceId)} can not be paused or unpaused: ${because}`,
    {
      instanceId,
    },
  )
}

type OpenState = Extract<AnySnapshot['state'], { readonly status: 'in-progress' | 'paused' }>

/** The state of an instance that may still change. */
export function openState(snapshot: AnySnapshot): OpenState {
  const { state } = snapshot
  if (isEnded(state.status)) throw terminal(snapshot.instanceId, state.status)
  return state as OpenState
}

/** The last state, which keeps the outputs where the snapshot has them; a deadline has no task any more. */
function end<S extends AnySnapshot>(snapshot: S, ended: object): S {
  const { completedTasks } = openState(snapshot)
  const state = completedTasks === undefined ? ended : { ...ended, completedTasks }
  return { ...snapshot, state, deadline: null } as S
}

function without<K, V>(map: ReadonlyMap<K, V>, key: K): ReadonlyMap<K, V> {
  if (!map.has(key)) return map
  const rest = new Map(map)
  rest.delete(key)
  return rest
}
