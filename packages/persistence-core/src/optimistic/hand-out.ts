import type { Branches, PendingTask, Position } from '../position.ts'
import type {
  CompletedTasks,
  HeadState,
  SnapshotHead,
  TaskRetry,
  WorkflowSnapshot,
} from '../snapshot.ts'

/**
 * A head that shares nothing with the one that is kept, so that whoever gets it may write into it.
 * Its maps are empty as a rule, so that this is cheaper than it looks.
 */
export function copyHead(head: SnapshotHead): SnapshotHead {
  const { state } = head
  return {
    ...head,
    initialInput: head.initialInput?.slice() ?? null,
    state: copyState(state),
    tags: head.tags.slice(),
    deadline: head.deadline === null ? null : { ...head.deadline },
    retries: new Map(head.retries.size === 0 ? null : Array.from(head.retries, copyRetry)),
    loopIterations: new Map(head.loopIterations.size === 0 ? null : head.loopIterations),
  }
}

/** A copy like that of `copyHead`, with these outputs. */
export function copyWhole(head: SnapshotHead, completedTasks: CompletedTasks): WorkflowSnapshot {
  const copy = copyHead(head)
  // Into what was just made: a copy of the copy would cost as much again.
  Object.assign(copy.state, { completedTasks })
  return copy as WorkflowSnapshot
}

/**
 * A head without outputs that nobody else has from now on, and that was copied when it came. Only what
 * it may share with others is replaced.
 */
export function giveAway(head: SnapshotHead): WorkflowSnapshot {
  return Object.assign(head, {
    state: { ...head.state, completedTasks: new Map() },
    retries: new Map(head.retries),
    loopIterations: new Map(head.loopIterations),
  }) as WorkflowSnapshot
}

function copyState(state: HeadState): HeadState {
  switch (state.status) {
    case 'in-progress':
    case 'paused':
      return { ...state, position: copyPosition(state.position) }
    case 'completed':
      return { ...state, finalOutput: state.finalOutput.slice() }
    default:
      return { ...state }
  }
}

function copyPosition(position: Position): Position {
  switch (position.kind) {
    case 'at-fork':
      return {
        ...position,
        pendingTasks: position.pendingTasks.map(copyTask),
        join: position.join === null ? null : copyTask(position.join),
        completedBranches: copyBranches(position.completedBranches),
      }
    case 'at-join':
      return { ...position, completedBranches: copyBranches(position.completedBranches) }
    default:
      return { ...position }
  }
}

function copyTask<T extends Pick<PendingTask, 'tags'>>(task: T): T {
  return task.tags === undefined ? { ...task } : { ...task, tags: [...task.tags] }
}

function copyBranches(branches: Branches): Branches {
  return new Map(
    Array.from(branches, ([label, { taskId, output }]) => [
      label,
      { taskId, output: output.slice() },
    ]),
  )
}

function copyRetry([taskId, retry]: readonly [string, TaskRetry]): [string, TaskRetry] {
  const { policy } = retry
  return [taskId, policy === undefined ? { ...retry } : { ...retry, policy: { ...policy } }]
}
