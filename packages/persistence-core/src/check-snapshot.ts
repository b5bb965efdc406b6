import {
  checkArray,
  checkDelay,
  checkId,
  checkIdOrNull,
  checkInteger,
  checkMap,
  checkObject,
  checkOneOf,
  checkPayload,
  checkPriority,
  checkTags,
  checkText,
  checkTextOrNull,
  checkTime,
  MAX_PENDING_TASKS,
} from './check.ts'
import { checkRetry } from './check-retry.ts'
import type { Branches, JoinTask, PendingTask, Position, TaskResult } from './position.ts'
import type { TaskDeadline, WorkflowSnapshot, WorkflowState } from './snapshot.ts'

/** How a snapshot's results are taken over; a backend may keep those that it made itself. */
export type TakeResult = (result: TaskResult, name: string) => TaskResult

/**
 * Checks a whole snapshot, as `saveSnapshot` takes it, and copies all of it, so that nothing that
 * the caller writes into it later is seen.
 *
 * @param empty Stands for every map that has nothing in it; left out: each is one of its own.
 * @throws `TypeError`, `RangeError`, `PAYLOAD_TOO_LARGE`.
 */
export function checkSnapshot(
  value: unknown,
  maxPayloadBytes: number,
  takeResult?: TakeResult,
  empty?: ReadonlyMap<string, never>,
): WorkflowSnapshot {
  const from = checkObject(value, 'snapshot')
  const take = takeResult ?? ((result, name) => copyResult(result, name, maxPayloadBytes))
  const { initialInput } = from
  return {
    instanceId: checkId(from.instanceId, 'instanceId'),
    definitionHash: checkId(from.definitionHash, 'definitionHash'),
    revision: checkInteger(from.revision, 'revision', 0),
    createdAt: checkTime(from.createdAt, 'createdAt'),
    updatedAt: checkTime(from.updatedAt, 'updatedAt'),
    initialInput:
      initialInput === null || initialInput === undefined
        ? null
        : checkPayload(initialInput, 'initialInput', maxPayloadBytes),
    state: checkState(from.state, maxPayloadBytes, take, empty),
    priority: checkPriority(from.priority, 'priority'),
    tags: checkTags(from.tags, 'tags'),
    deadline: checkDeadline(from.deadline, 'deadline'),
    retries: checkEntries(from.retries, 'retries', checkRetry, empty),
    loopIterations: checkEntries(from.loopIterations, 'loopIterations', checkIteration, empty),
    traceParent: checkTextOrNull(from.traceParent, 'traceParent'),
  }
}

/** Checks one result and copies its bytes. */
export function copyResult(value: unknown, name: string, maxPayloadBytes: number): TaskResult {
  const { taskId, output } = checkObject(value, name)
  return {
    taskId: checkId(taskId, `${name}.taskId`),
    output: checkPayload(output, `${name}.output`, maxPayloadBytes),
  }
}

function checkState(
  value: unknown,
  maxPayloadBytes: number,
  take: TakeResult,
  empty: ReadonlyMap<string, never> | undefined,
): WorkflowState {
  const from = checkObject(value, 'state')
  const status = checkOneOf(from.status, 'state.status', [
    'in-progress',
    'completed',
    'failed',
    'cancelled',
    'paused',
  ])
  if (from.completedTasks === undefined) {
    throw new TypeError(
      'state.completedTasks is missing: a SnapshotHead can not be saved, because its outputs would be lost; load the snapshot, or use commitTask or saveTaskResult',
    )
  }
  const completedTasks = checkCompletedTasks(from.completedTasks, take, empty)
  switch (status) {
    case 'completed':
      return {
        status,
        finalOutput: checkPayload(from.finalOutput, 'state.finalOutput', maxPayloadBytes),
        completedTasks,
      }
    case 'failed':
      return { status, error: checkText(from.error, 'state.error'), completedTasks }
    case 'cancelled':
      return {
        status,
        reason: checkTextOrNull(from.reason, 'state.reason'),
        cancelledBy: checkTextOrNull(from.cancelledBy, 'state.cancelledBy'),
        cancelledAt: checkTime(from.cancelledAt, 'state.cancelledAt'),
        interruptedAtTask: checkIdOrNull(from.interruptedAtTask, 'state.interruptedAtTask'),
        completedTasks,
      }
    case 'paused':
    case 'in-progress': {
      const place = {
        position: checkPosition(from.position, maxPayloadBytes),
        lastCompletedTaskId: checkIdOrNull(from.lastCompletedTaskId, 'state.lastCompletedTaskId'),
        completedTasks,
      }
      if (status === 'in-progress') return { status, ...place }
      return {
        status,
        reason: checkTextOrNull(from.reason, 'state.reason'),
        pausedBy: checkTextOrNull(from.pausedBy, 'state.pausedBy'),
        pausedAt: checkTime(from.pausedAt, 'state.pausedAt'),
        ...place,
      }
    }
  }
}

function checkCompletedTasks(
  value: unknown,
  take: TakeResult,
  empty: ReadonlyMap<string, never> | undefined,
): ReadonlyMap<string, TaskResult> {
  const from = checkMap(value, 'state.completedTasks')
  if (from.size === 0 && empty !== undefined) return empty
  const completedTasks = new Map<string, TaskResult>()
  for (const [key, entry] of from) {
    const result = take(entry as TaskResult, 'state.completedTasks value')
    if (result.taskId !== key) {
      throw new TypeError('state.completedTasks must have each result under its own taskId')
    }
    completedTasks.set(result.taskId, result)
  }
  return completedTasks
}

/** Checks a position with absolute times and copies it. */
export function checkPosition(value: unknown, maxPayloadBytes: number): Position {
  const from = checkObject(value, 'position')
  const kind = checkOneOf(from.kind, 'position.kind', [
    'not-started',
    'at-task',
    'at-delay',
    'at-signal',
    'at-fork',
    'at-join',
    'in-loop',
  ])
  switch (kind) {
    case 'not-started':
      return { kind }
    case 'at-task':
      return { kind, taskId: checkId(from.taskId, 'position.taskId') }
    case 'at-delay':
      return {
        kind,
        delayId: checkId(from.delayId, 'position.delayId'),
        enteredAt: checkTime(from.enteredAt, 'position.enteredAt'),
        wakeAt: checkTime(from.wakeAt, 'position.wakeAt'),
        nextTaskId: checkIdOrNull(from.nextTaskId, 'position.nextTaskId'),
      }
    case 'at-signal':
      return {
        kind,
        signalId: checkId(from.signalId, 'position.signalId'),
        signalName: checkId(from.signalName, 'position.signalName'),
        wakeAt: checkTimeOrNull(from.wakeAt, 'position.wakeAt'),
        nextTaskId: checkIdOrNull(from.nextTaskId, 'position.nextTaskId'),
      }
    case 'at-fork': {
      const completedBranches = checkBranches(from.completedBranches, maxPayloadBytes)
      const pendingTasks = checkPendingTasks(from.pendingTasks, checkPendingTask, completedBranches)
      return {
        kind,
        forkId: checkId(from.forkId, 'position.forkId'),
        pendingTasks,
        join: checkJoin(from.join, pendingTasks.length),
        completedBranches,
        wakeAt: checkTimeOrNull(from.wakeAt, 'position.wakeAt'),
      }
    }
    case 'at-join':
      return {
        kind,
        joinId: checkId(from.joinId, 'position.joinId'),
        completedBranches: checkBranches(from.completedBranches, maxPayloadBytes),
      }
    case 'in-loop':
      return {
        kind,
        loopId: checkId(from.loopId, 'position.loopId'),
        iteration: checkInteger(from.iteration, 'position.iteration', 0),
        nextTaskId: checkIdOrNull(from.nextTaskId, 'position.nextTaskId'),
      }
  }
}

function checkTimeOrNull(value: unknown, name: string): number | null {
  return value === null || value === undefined ? null : checkTime(value, name)
}

function checkBranches(value: unknown, maxPayloadBytes: number): Branches {
  const branches = new Map<string, TaskResult>()
  if (value === undefined) return branches
  for (const [label, result] of checkMap(value, 'position.completedBranches')) {
    branches.set(
      checkId(label, 'position.completedBranches key'),
      copyResult(result, 'position.completedBranches value', maxPayloadBytes),
    )
  }
  return branches
}

/** The label of a pending task's branch. */
export function branchLabel(task: { readonly taskId: string; readonly branch?: string }): string {
  return task.branch ?? task.taskId
}

/** Checks a fork's pending tasks: at most 1,000, each task and each branch once. */
export function checkPendingTasks<T extends { readonly taskId: string; readonly branch?: string }>(
  value: unknown,
  checkOne: (value: unknown, name: string) => T,
  completedBranches: Branches,
): readonly T[] {
  const given = checkArray(value, 'position.pendingTasks')
  if (given.length > MAX_PENDING_TASKS) {
    throw new RangeError(
      `position.pendingTasks must have at most ${MAX_PENDING_TASKS} tasks, got ${given.length}`,
    )
  }
  const tasks = given.map((one, index) => checkOne(one, `position.pendingTasks[${index}]`))
  const labels = new Set(completedBranches.keys())
  const ids = new Set<string>()
  for (const task of tasks) {
    if (ids.has(task.taskId)) throw new TypeError('position.pendingTasks must have each task once')
    // Two branches of one label would overwrite each other's result.
    if (labels.has(branchLabel(task)))
      throw new TypeError('position.pendingTasks must be of different branches')
    ids.add(task.taskId)
    labels.add(branchLabel(task))
  }
  return tasks
}

/** What pending tasks have in common, absolute or relative. */
export function checkPendingFields(
  from: Readonly<Record<string, unknown>>,
  name: string,
): Omit<PendingTask, 'availableAt'> {
  const { branch, inputTaskId, priority, tags } = from
  return {
    taskId: checkId(from.taskId, `${name}.taskId`),
    ...(branch === undefined ? undefined : { branch: checkId(branch, `${name}.branch`) }),
    ...(inputTaskId === undefined
      ? undefined
      : { inputTaskId: checkId(inputTaskId, `${name}.inputTaskId`) }),
    ...(priority === undefined
      ? undefined
      : { priority: checkInteger(priority, `${name}.priority`, 1, 5) }),
    ...(tags === undefined ? undefined : { tags: checkTags(tags, `${name}.tags`) }),
  }
}

function checkPendingTask(value: unknown, name: string): PendingTask {
  const from = checkObject(value, name)
  const { availableAt } = from
  return {
    ...checkPendingFields(from, name),
    ...(availableAt === undefined
      ? undefined
      : { availableAt: checkTime(availableAt, `${name}.availableAt`) }),
  }
}

/** Checks a fork's join, which it needs where it has pending tasks. */
export function checkJoin(value: unknown, pendingTasks: number): JoinTask | null {
  if (value === null || value === undefined) {
    if (pendingTasks > 0)
      throw new TypeError('position.join is required where there are pending tasks')
    return null
  }
  const { taskId, priority, tags } = checkObject(value, 'position.join')
  return {
    taskId: checkId(taskId, 'position.join.taskId'),
    ...(priority === undefined
      ? undefined
      : { priority: checkInteger(priority, 'position.join.priority', 1, 5) }),
    ...(tags === undefined ? undefined : { tags: checkTags(tags, 'position.join.tags') }),
  }
}

/** Checks a deadline; null where it is left out. */
export function checkDeadline(value: unknown, name: string): TaskDeadline | null {
  if (value === null || value === undefined) return null
  const { taskId, deadlineAt, timeoutMs } = checkObject(value, name)
  return {
    taskId: checkId(taskId, `${name}.taskId`),
    deadlineAt: checkTime(deadlineAt, `${name}.deadlineAt`),
    timeoutMs: checkDelay(timeoutMs, `${name}.timeoutMs`),
  }
}

function checkEntries<T>(
  value: unknown,
  name: string,
  checkOne: (value: unknown) => T,
  empty: ReadonlyMap<string, never> | undefined,
): ReadonlyMap<string, T> {
  const from = checkMap(value, name)
  if (from.size === 0 && empty !== undefined) return empty
  const entries = new Map<string, T>()
  for (const [key, entry] of from) entries.set(checkId(key, `${name} key`), checkOne(entry))
  return entries
}

function checkIteration(value: unknown): number {
  return checkInteger(value, 'loopIterations', 0)
}
