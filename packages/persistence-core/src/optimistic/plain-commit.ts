import { DEFAULT_PRIORITY } from '../check.ts'
import { type DispatchEntry, isHeldBy, isServed } from '../dispatch.ts'
import type { SnapshotHead } from '../snapshot.ts'
import type { CommitTaskParams } from '../task-claim-store.ts'
import { ORDER_STEP } from './instance-edit.ts'
import { plainEntry } from './plain-entry.ts'
import type { InstanceWrite, StoredInstance } from './store.ts'
import { CLOCK_TOLERANCE_MS, timeOfChange } from './time-of-change.ts'

const NO_CHANGES: readonly never[] = []

/** What the commit of the only task of an instance writes. */
export interface PlainWrite extends InstanceWrite {
  readonly commit: NonNullable<InstanceWrite['commit']>
}

/**
 * What most commits are: a task alone that completed, after which there is one other task, or the
 * end. The same as core's rules make of it (which a test compares), without taking an instance
 * apart that has no parts: every step of every workflow comes this way. Null: it is none of these.
 */
export function plainCommit(
  before: StoredInstance,
  now: number,
  { claim, outcome, claimNext }: CommitTaskParams,
): PlainWrite | null {
  const { head, entries } = before
  const { state } = head
  const { taskId, workerId } = claim
  const entry = entries[0]
  if (
    outcome.kind !== 'completed' ||
    state.status !== 'in-progress' ||
    state.position.kind !== 'at-task' ||
    entry?.taskId !== taskId ||
    entry.claim === null ||
    !isHeldBy(entry, claim) ||
    entries.length > 1 ||
    before.cancel !== null ||
    before.pause !== null ||
    head.retries.size > 0
  ) {
    return null
  }
  const { output, next } = outcome
  const at = timeOfChange(before, now)
  const revision = head.revision + 1
  let after: SnapshotHead
  let added: DispatchEntry | null = null
  if ('finalOutput' in next) {
    const { finalOutput } = next
    const ended = { status: 'completed', finalOutput } as const
    after = { ...head, revision, updatedAt: at, state: ended, deadline: null }
  } else if ('position' in next) {
    const { position, priority = DEFAULT_PRIORITY, tags = [], deadline = null } = next
    if (position.kind !== 'at-task' || position.taskId === taskId) return null
    const going = { status: 'in-progress', position, lastCompletedTaskId: taskId } as const
    after = { ...head, revision, updatedAt: at, state: going, priority, tags, deadline }
    added = plainEntry(position.taskId, priority, tags, at, taskId)
  } else return null
  const fresh = added === null ? NO_CHANGES : [added]
  const { token } = entry.claim
  const { status } = after.state
  let wanted: InstanceWrite['claimNext'] = null
  if (claimNext !== undefined) {
    const { ttlMs, ...filter } = claimNext
    const isOwn = added !== null && isServed(filter, head.definitionHash, added.tags)
    const own = isOwn && added !== null ? added.taskId : null
    wanted = { own, request: { filter, workerId, ttlMs, limit: 1 } }
  }
  return {
    instanceId: head.instanceId,
    plain: 'commit',
    before,
    after: {
      generation: before.generation,
      version: before.version + 1,
      head: after,
      entries: fresh,
      cancel: null,
      pause: null,
      queuedEvents: added === null ? 0 : before.queuedEvents,
    },
    at,
    toleranceMs: CLOCK_TOLERANCE_MS,
    entries: { removed: [taskId], added: fresh, moved: NO_CHANGES, released: NO_CHANGES },
    holds: { instanceId: claim.instanceId, taskId, workerId, token },
    removedResults: NO_CHANGES,
    results: [{ taskId, output, order: revision * ORDER_STEP }],
    takenEvent: null,
    event: null,
    commit: { taskId, workerId, token, revision, status },
    claimNext: wanted,
  }
}
