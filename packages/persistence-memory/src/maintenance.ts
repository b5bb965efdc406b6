import { setImmediate } from 'node:timers/promises'
import type {
  Abortable,
  BackendStats,
  InstanceStatus,
  Maintenance,
  PruneParams,
  PruneResult,
} from '@sayiir/persistence-core'
import {
  checkAbortable,
  checkPruneParams,
  compareIds,
  isFree,
  isLive,
  TIMER_TASK_ID,
} from '@sayiir/persistence-core/adapter'
import { handsOut, type InstanceRecord } from './records.ts'
import type { StoreContext } from './store-context.ts'

/** Deletions between which others get their turn. */
const PRUNE_BATCH = 100

/** Keeping it small, and numbers about it. */
export class MemoryMaintenance implements Maintenance {
  readonly #context: StoreContext

  constructor(context: StoreContext) {
    this.#context = context
  }

  async prune(params: PruneParams, options?: Abortable): Promise<PruneResult> {
    const { lifecycle, records } = this.#context
    const { endedBefore, statuses, limit, dryRun } = checkPruneParams(params)
    const signal = checkAbortable(options)
    return lifecycle.run(signal, async () => {
      // Nothing changes an instance after it has ended, so its last change is its end.
      const ended = [...records.all()]
        .filter(
          ({ snapshot: { state, updatedAt } }) =>
            updatedAt < endedBefore &&
            (statuses as readonly InstanceStatus[]).includes(state.status),
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
    })
  }

  async stats(options?: Abortable): Promise<BackendStats> {
    const { lifecycle, records, now } = this.#context
    return lifecycle.run(checkAbortable(options), () => {
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
    })
  }

  async checkHealth(options?: Abortable): Promise<void> {
    return this.#context.lifecycle.run(checkAbortable(options), () => undefined)
  }
}

function byEnd({ snapshot: a }: InstanceRecord, { snapshot: b }: InstanceRecord): number {
  return a.updatedAt - b.updatedAt || compareIds(a.instanceId, b.instanceId)
}
