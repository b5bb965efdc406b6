import type { SnapshotSummary, WorkflowSnapshot } from '@sayiir/persistence-core'
import {
  type CheckedListFilter,
  type CheckedSaveOptions,
  claimLost,
  compareIds,
  conflict,
  isEnded,
  isHeldBy,
  notFound,
  type SnapshotCalls,
  terminal,
} from '@sayiir/persistence-core/adapter'
import { copySnapshot } from './copies.ts'
import { type InstanceRecord, type Placed, place, placed, takeQueuedEvent } from './records.ts'
import type { StoreContext } from './store-context.ts'

/** Whole snapshots. */
export class MemorySnapshotStore implements SnapshotCalls {
  readonly #context: StoreContext

  constructor(context: StoreContext) {
    this.#context = context
  }

  saveSnapshot(snapshot: WorkflowSnapshot, conditions: CheckedSaveOptions): WorkflowSnapshot {
    const { records, now } = this.#context
    const found = records.get(snapshot.instanceId)
    checkConditions(snapshot.instanceId, found, conditions)
    const at = now()
    const record = found ?? records.create(snapshot, at)
    if (found !== undefined) {
      const saved = withoutReleased(place(placed(record), snapshot, at), conditions)
      records.change(record, takeQueuedEvent(record, saved, at), at)
    }
    return copySnapshot(record.snapshot)
  }

  loadSnapshot(instanceId: string): WorkflowSnapshot {
    return copySnapshot(this.#context.records.require(instanceId).snapshot)
  }

  deleteSnapshot(instanceId: string): void {
    const { records } = this.#context
    records.delete(records.require(instanceId))
  }

  async *listSnapshots(
    filter: CheckedListFilter,
  ): AsyncGenerator<SnapshotSummary, void, undefined> {
    const { records } = this.#context
    // The ids of the beginning: whatever comes and goes meanwhile, none is listed twice or missed.
    const ids = [...records.all()]
      .filter((record) => isListed(record, filter))
      .map(({ snapshot }) => snapshot.instanceId)
      .sort(compareIds)
    for (const id of ids) {
      const record = records.get(id)
      if (record !== undefined && isListed(record, filter)) yield toSummary(record.snapshot)
    }
  }
}

/** What must hold for a save to land. */
function checkConditions(
  instanceId: string,
  record: InstanceRecord | undefined,
  { claim, expectedRevision }: CheckedSaveOptions,
): void {
  if (record === undefined) {
    if (claim !== null) throw notFound(instanceId)
    if (expectedRevision !== null && expectedRevision !== 0) {
      throw conflict(instanceId, expectedRevision, null)
    }
    return
  }
  const { revision, state } = record.snapshot
  if (isEnded(state.status)) throw terminal(instanceId, state.status)
  if (claim !== null && !isHeldBy(record.entries.get(claim.taskId), claim)) {
    throw claimLost(instanceId, claim.taskId)
  }
  if (expectedRevision !== null && expectedRevision !== revision) {
    throw conflict(instanceId, expectedRevision, revision)
  }
}

function withoutReleased(saved: Placed, { claim, release }: CheckedSaveOptions): Placed {
  if (claim === null || !release) return saved
  return {
    ...saved,
    entries: saved.entries.map((entry) =>
      entry.taskId === claim.taskId ? { ...entry, claim: null } : entry,
    ),
  }
}

function isListed({ snapshot }: InstanceRecord, filter: CheckedListFilter): boolean {
  const { statuses, definitionHashes, prefix, after } = filter
  return (
    (statuses === null || statuses.includes(snapshot.state.status)) &&
    (definitionHashes === null || definitionHashes.includes(snapshot.definitionHash)) &&
    (prefix === null || snapshot.instanceId.startsWith(prefix)) &&
    (after === null || compareIds(snapshot.instanceId, after) > 0)
  )
}

function toSummary(snapshot: WorkflowSnapshot): SnapshotSummary {
  const { instanceId, definitionHash, state, revision, createdAt, updatedAt } = snapshot
  return { instanceId, definitionHash, status: state.status, revision, createdAt, updatedAt }
}
