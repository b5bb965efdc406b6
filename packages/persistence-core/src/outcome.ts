import { DEFAULT_PRIORITY, later } from './check.ts'
import { branchLabel } from './check-snapshot.ts'
import type { Branches, NextPendingTask, NextPosition, PendingTask, Position } from './position.ts'
import { type AnySnapshot, positionOf } from './snapshot.ts'
import type { Next, TaskClaimRef, TaskOutcome } from './task-claim-store.ts'
import {
  completeTask,
  completeWorkflow,
  failWorkflow,
  moveTo,
  openState,
  scheduleRetry,
} from './transitions.ts'

/**
 * What a task's outcome makes of its instance: output stored, position moved, branch or workflow
 * ended, retry scheduled. Times become absolute from `at`.
 *
 * @param at Epoch milliseconds by the store's clock.
 * @throws `TypeError` where a task inside a fork does not go on with `{ branch }`, or another does
 * (rule F1); `TERMINAL` on an ended instance.
 */
export function applyOutcome<S extends AnySnapshot>(
  snapshot: S,
  claim: Pick<TaskClaimRef, 'taskId' | 'workerId'>,
  outcome: TaskOutcome,
  at: number,
): S {
  openState(snapshot)
  const { taskId } = claim
  switch (outcome.kind) {
    case 'failed':
      return failWorkflow(snapshot, outcome.error)
    case 'retry':
      return scheduleRetry(snapshot, taskId, {
        error: outcome.error,
        workerId: claim.workerId,
        retryAt: later(at, outcome.delayMs),
        ...(outcome.maxAttempts === undefined ? undefined : { maxAttempts: outcome.maxAttempts }),
      })
    case 'completed': {
      const { next } = outcome
      const fork = forkOf(snapshot, taskId)
      if (fork !== null) {
        if (!('branch' in next)) {
          throw new TypeError(
            `task ${JSON.stringify(taskId)} is inside a fork: commit it with next: { branch }`,
          )
        }
        return goOnInFork(
          completeTask(snapshot, taskId, outcome.output),
          fork,
          taskId,
          outcome.output,
          next.branch,
          at,
        )
      }
      if ('branch' in next) {
        throw new TypeError(
          `task ${JSON.stringify(taskId)} is not inside a fork: commit it with next: { position } or { finalOutput }`,
        )
      }
      const completed = completeTask(snapshot, taskId, outcome.output)
      if ('finalOutput' in next) return completeWorkflow(completed, next.finalOutput)
      return enter(completed, taskId, next, at)
    }
  }
}

type Fork = Extract<Position, { kind: 'at-fork' }>

/** The fork that the task is inside, or null. */
function forkOf(snapshot: AnySnapshot, taskId: string): Fork | null {
  const position = positionOf(snapshot)
  if (position?.kind !== 'at-fork') return null
  return position.pendingTasks.some((task) => task.taskId === taskId) ? position : null
}

function enter<S extends AnySnapshot>(
  snapshot: S,
  taskId: string,
  next: Extract<Next, { position: unknown }>,
  at: number,
): S {
  const { position: relative, ...options } = next
  const position = toPosition(relative, taskId, at)
  if (position.kind === 'at-fork' && position.pendingTasks.length === 0 && position.join !== null) {
    // A fork over nothing: its join has nothing to wait for.
    return join(snapshot, position, new Map())
  }
  return moveTo(snapshot, position, options)
}

/** A committed position with its times made absolute; a pending task's input is the committed output unless it says otherwise. */
function toPosition(next: NextPosition, taskId: string, at: number): Position {
  switch (next.kind) {
    case 'at-delay':
      return {
        kind: 'at-delay',
        delayId: next.delayId,
        enteredAt: at,
        wakeAt: later(at, next.delayMs),
        nextTaskId: next.nextTaskId,
      }
    case 'at-signal': {
      const { signalId, signalName, timeoutMs, nextTaskId } = next
      return {
        kind: 'at-signal',
        signalId,
        signalName,
        wakeAt: timeoutMs === null ? null : later(at, timeoutMs),
        nextTaskId,
      }
    }
    case 'at-fork':
      return {
        kind: 'at-fork',
        forkId: next.forkId,
        pendingTasks: next.pendingTasks.map((task) => toPending(task, taskId, at)),
        join: next.join,
        completedBranches: new Map(),
        wakeAt: null,
      }
    default:
      return next
  }
}

function toPending(
  { delayMs, ...task }: NextPendingTask,
  inputTaskId: string,
  at: number,
): PendingTask {
  return {
    inputTaskId,
    ...task,
    ...(delayMs === undefined || delayMs === 0 ? undefined : { availableAt: later(at, delayMs) }),
  }
}

function goOnInFork<S extends AnySnapshot>(
  snapshot: S,
  fork: Fork,
  taskId: string,
  output: Uint8Array,
  next: NextPendingTask | null,
  at: number,
): S {
  const own = fork.pendingTasks.find((task) => task.taskId === taskId) as PendingTask
  const label = branchLabel(own)
  if (next !== null) {
    if (next.branch !== undefined && next.branch !== label) {
      throw new TypeError(
        `task ${JSON.stringify(taskId)} is of branch ${JSON.stringify(label)}, which can not become ${JSON.stringify(next.branch)}`,
      )
    }
    const following = toPending({ ...next, branch: label }, taskId, at)
    if (next.taskId !== taskId && fork.pendingTasks.some((task) => task.taskId === next.taskId)) {
      throw new TypeError(
        `task ${JSON.stringify(next.taskId)} is pending in another branch of this fork`,
      )
    }
    return place(snapshot, {
      ...fork,
      pendingTasks: fork.pendingTasks.map((task) => (task === own ? following : task)),
    })
  }
  const completedBranches = new Map(fork.completedBranches).set(label, { taskId, output })
  const pendingTasks = fork.pendingTasks.filter((task) => task !== own)
  return pendingTasks.length > 0
    ? place(snapshot, { ...fork, pendingTasks, completedBranches })
    : join(snapshot, fork, completedBranches)
}

/** Moves within a fork: priority, tags and deadline are the pending tasks' own. */
function place<S extends AnySnapshot>(snapshot: S, position: Position): S {
  return { ...snapshot, state: { ...openState(snapshot), position } } as S
}

function join<S extends AnySnapshot>(snapshot: S, fork: Fork, completedBranches: Branches): S {
  const { taskId, priority, tags } = fork.join as NonNullable<Fork['join']>
  return {
    ...place(snapshot, { kind: 'at-join', joinId: taskId, completedBranches }),
    priority: priority ?? DEFAULT_PRIORITY,
    tags: tags ?? [],
    deadline: null,
  }
}
