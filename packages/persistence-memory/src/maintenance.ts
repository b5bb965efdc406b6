import { setImmediate } from 'node:timers/promises'
import type {
  BackendStats,
  InstanceStatus,
  PruneParams,
  PruneResult,
} from '@sayiir/persistence-core'
import {
  compareIds,
  isFree,
  isLive,
  type MaintenanceCalls,
  TIMER_TASK_ID,
} from '@sayiir/persistence-core/adapter'
import { handsOut, type InstanceRecord } from './records.ts'
import type { StoreContext } from './store-context.ts'

/** Deletions between which others get their turn. */
const PRUNE_BATCH = 100

/** Keeping it small, and numbers about it. */
export class MemoryMaintenance implements MaintenanceCalls {
  readonly #context: StoreContext

  constructor(context: StoreContext) {
    this.#context = context
  }

  async prune(
    { endedBefore, statuses, limit, dryRun }: Required<PruneParams>,
    signal: AbortSignal | undefined,
  ): Promise<PruneResult> {
    const { records } = this.#context
    // Nothing changes an instance after it has ended, so its last change is its end.
    const ended = [...records.all()]
      .filter(
        ({ snapshot: { state, updatedAt } }) =>
          updatedAt < endedBefore && (statuses as readonly InstanceStatus[]).includes(state.status),
      )
      .sort(byEnd)
    const more = ended.length > limit
    const chosen = ended.slice(0, limit)
    if (dryRun) return { deleted: chosen.length, more }
    let deleted = 0
    for (const [index, record] of chosen.entries()) {
      if (index > 0 && index % PRUNE_BATCH === 0) {
        await setImmediate()
        signal?.throwIfAborted()
      }
      // Somebody else may have deleted it in between.
      if (records.get(record.snapshot.instanceId) !== record) continue
      records.delete(record)
      deleted += 1
    }
    return { deleted, more }
  }

  stats(): BackendStats {
    const { records, now } = this.#context
    const byStatus = { 'in-progress': 0, paused: 0, completed: 0, failed: 0, cancelled: 0 }
    const at = now()
    let available = 0
    let claimed = 0
    let oldest = Number.POSITIVE_INFINITY
    for (const record of records.all()) {
      byStatus[record.snapshot.state.status] += 1
      for (const entry of record.entries.values()) {
        if (isLive(entry.claim, at)) claimed += 1
        else if (handsOut(record) && entry.taskId !== TIMER_TASK_ID && isFree(entry, at)) {
          available += 1
          oldest = Math.min(oldest, entry.availableSince)
        }
      }
    }
    return {
      byStatus,
      available,
      claimed,
      oldestAvailableAgeMs: available === 0 ? null : at - oldest,
    }
  }

  checkHealth(): void {}
}

function byEnd({ snapshot: a }: InstanceRecord, { snapshot: b }: InstanceRecord): number {
  return a.updatedAt - b.updatedAt || compareIds(a.instanceId, b.instanceId)
}
