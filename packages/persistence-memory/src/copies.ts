import type {
  AvailableTask,
  Branches,
  SnapshotHead,
  WorkflowSnapshot,
} from '@sayiir/persistence-core'
import {
  checkSnapshot,
  copyBytes,
  type DispatchEntry,
  toAvailableTask,
  toHead,
  withCompletedTasks,
} from '@sayiir/persistence-core/adapter'

/** A copy that shares nothing with what is stored, so that the caller may write into it. */
export function copySnapshot(snapshot: WorkflowSnapshot): WorkflowSnapshot {
  return checkSnapshot(snapshot, Number.POSITIVE_INFINITY)
}

/** A copy without the outputs of completed tasks. */
export function copyHead(snapshot: WorkflowSnapshot): SnapshotHead {
  return toHead(copySnapshot(withCompletedTasks(toHead(snapshot), new Map())))
}

/** The task as a worker gets it, with its input; it shares nothing with what is stored. */
export function copyTask(snapshot: WorkflowSnapshot, entry: DispatchEntry): AvailableTask {
  const task = toAvailableTask(snapshot, entry, inputOf(snapshot, entry))
  return { ...task, tags: [...task.tags], branches: copyBranches(task.branches) }
}

function copyBranches(branches: Branches): Branches {
  return new Map(
    [...branches].map(([label, { taskId, output }]) => [
      label,
      { taskId, output: copyBytes(output) },
    ]),
  )
}

function inputOf({ initialInput, state }: WorkflowSnapshot, entry: DispatchEntry): Uint8Array {
  if (state.status === 'in-progress' && state.position.kind === 'at-join') return new Uint8Array(0)
  const before =
    entry.inputTaskId === null ? undefined : state.completedTasks.get(entry.inputTaskId)
  return copyBytes(before?.output ?? initialInput ?? new Uint8Array(0))
}
