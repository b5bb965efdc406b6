import type { SnapshotHead, WorkflowSnapshot } from '../snapshot.ts'
import { newGeneration } from './generation.ts'
import { plainEntry } from './plain-entry.ts'
import type { InstanceWrite } from './store.ts'
import { CLOCK_TOLERANCE_MS } from './time-of-change.ts'

const NO_CHANGES: readonly never[] = []
/** Of all that have none: what is kept is copied before it is handed out, and maps are large. */
export const NOTHING: ReadonlyMap<string, never> = new Map<string, never>()

/**
 * What most new instances are: at a task, with nothing done yet. The same as core's rules make of
 * it (which a test compares), without taking apart what has no parts: a thousand are made at once.
 * Null: it is anything else.
 */
export function plainStart(snapshot: WorkflowSnapshot, at: number): InstanceWrite | null {
  const { instanceId, definitionHash, state, tags } = snapshot
  if (
    state.status !== 'in-progress' ||
    state.position.kind !== 'at-task' ||
    state.completedTasks.size > 0 ||
    snapshot.retries.size > 0
  ) {
    return null
  }
  const { position, lastCompletedTaskId } = state
  const head: SnapshotHead = {
    instanceId,
    definitionHash,
    revision: 1,
    createdAt: at,
    updatedAt: at,
    initialInput: snapshot.initialInput,
    state: { status: 'in-progress', position, lastCompletedTaskId },
    priority: snapshot.priority,
    tags,
    deadline: snapshot.deadline,
    retries: NOTHING,
    loopIterations: snapshot.loopIterations.size === 0 ? NOTHING : snapshot.loopIterations,
    traceParent: snapshot.traceParent,
  }
  const entries = [plainEntry(position.taskId, head.priority, tags, at, lastCompletedTaskId)]
  return {
    instanceId,
    plain: 'start',
    before: null,
    after: {
      generation: newGeneration(),
      version: 1,
      head,
      entries,
      cancel: null,
      pause: null,
      queuedEvents: 0,
    },
    at,
    toleranceMs: CLOCK_TOLERANCE_MS,
    entries: { removed: NO_CHANGES, added: entries, moved: NO_CHANGES, released: NO_CHANGES },
    holds: null,
    removedResults: NO_CHANGES,
    results: NO_CHANGES,
    takenEvent: null,
    event: null,
    commit: null,
    claimNext: null,
  }
}
