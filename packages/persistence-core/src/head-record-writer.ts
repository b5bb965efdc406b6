import type { Branches, Position } from './position.ts'
import type { HeadState, SnapshotHead, TaskRetry } from './snapshot.ts'
import { STORED_ELSEWHERE } from './stored-elsewhere.ts'

/** What `JSON.stringify` makes the record of: it leaves out what is undefined. */
export function writeHead(head: SnapshotHead): object {
  const { state, tags, retries, loopIterations } = head
  return {
    status: state.status,
    ...stateFields(state),
    priority: head.priority ?? undefined,
    tags: tags.length === 0 ? undefined : tags,
    deadline: head.deadline ?? undefined,
    retries: retries.size === 0 ? undefined : Array.from(retries, retryPair),
    loops: loopIterations.size === 0 ? undefined : Array.from(loopIterations),
    trace: head.traceParent ?? undefined,
  }
}

function stateFields(state: HeadState): object {
  switch (state.status) {
    case 'in-progress':
      return {
        position: positionFields(state.position),
        last: state.lastCompletedTaskId ?? undefined,
      }
    case 'completed':
      return {}
    case 'failed':
      return { error: state.error }
    case 'cancelled':
      return {
        reason: state.reason ?? undefined,
        by: state.cancelledBy ?? undefined,
        at: state.cancelledAt,
        interrupted: state.interruptedAtTask ?? undefined,
      }
    case 'paused':
      return {
        reason: state.reason ?? undefined,
        by: state.pausedBy ?? undefined,
        at: state.pausedAt,
        position: positionFields(state.position),
        last: state.lastCompletedTaskId ?? undefined,
      }
  }
}

function positionFields(position: Position): object {
  switch (position.kind) {
    case 'not-started':
    case 'at-task':
      return position
    case 'at-delay':
    case 'in-loop':
      return { ...position, nextTaskId: position.nextTaskId ?? undefined }
    case 'at-signal':
      return {
        ...position,
        wakeAt: position.wakeAt ?? undefined,
        nextTaskId: position.nextTaskId ?? undefined,
      }
    case 'at-fork':
      return {
        ...position,
        pendingTasks: position.pendingTasks.length === 0 ? undefined : position.pendingTasks,
        join: position.join ?? undefined,
        completedBranches: branchTuples(position.completedBranches),
        wakeAt: position.wakeAt ?? undefined,
      }
    case 'at-join':
      return { ...position, completedBranches: branchTuples(position.completedBranches) }
  }
}

/** Label, task id and, unless it is stored elsewhere, output. */
function branchTuples(branches: Branches): readonly (readonly string[])[] | undefined {
  if (branches.size === 0) return undefined
  return Array.from(branches, ([label, { taskId, output }]) =>
    output === STORED_ELSEWHERE ? [label, taskId] : [label, taskId, base64(output)],
  )
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

function retryPair([taskId, retry]: readonly [string, TaskRetry]): readonly [string, object] {
  return [taskId, { ...retry, lastFailedWorker: retry.lastFailedWorker ?? undefined }]
}
