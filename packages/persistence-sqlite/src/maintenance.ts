import type {
  BackendStats,
  EndedStatus,
  InstanceStatus,
  PruneParams,
  PruneResult,
} from '@sayiir/persistence-core'
import type { MaintenanceCalls } from '@sayiir/persistence-core/adapter'
import type { Connection } from './database.ts'
import { QUEUE } from './records.ts'
import { checkSchema } from './schema.ts'
import type { Store } from './store.ts'
import { deleteInstance } from './tables.ts'
import { readClock } from './transaction.ts'

/** Instances that are deleted in one transaction at most. */
const BATCH = 50

/** Pruning, numbers and health of a database. */
export class SqliteMaintenance implements MaintenanceCalls {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async prune(
    { endedBefore, statuses, limit, dryRun }: Required<PruneParams>,
    signal: AbortSignal | undefined,
  ): Promise<PruneResult> {
    const wanted = [...new Set(statuses)]
    if (dryRun) {
      const found = await this.#store.read((db) => ended(db, wanted, endedBefore, limit + 1))
      return { deleted: Math.min(found.length, limit), more: found.length > limit }
    }
    let deleted = 0
    for (;;) {
      signal?.throwIfAborted()
      const left = limit - deleted
      const { count, more } = await this.#store.write(({ db }) => {
        const size = Math.min(left, BATCH)
        const ids = ended(db, wanted, endedBefore, size + 1)
        const batch = ids.slice(0, size)
        for (const id of batch) deleteInstance(db, id)
        return { count: batch.length, more: ids.length > batch.length }
      })
      deleted += count
      if (!more || deleted === limit) return { deleted, more }
    }
  }

  stats(): Promise<BackendStats> {
    return this.#store.read(readStats)
  }

  checkHealth(): Promise<void> {
    return this.#store.read((db) => {
      this.#store.file.check()
      checkSchema(db)
    })
  }
}

/** Ids of instances that ended before a time, the oldest of each status first. */
function ended(
  db: Connection,
  statuses: readonly EndedStatus[],
  endedBefore: number,
  limit: number,
): string[] {
  const ids: string[] = []
  for (const status of statuses) {
    const rows = db.all<{ id: string }>(
      `SELECT id FROM {instance} INDEXED BY {instance_by_status}
      WHERE status = ? AND ended_at < ? ORDER BY ended_at LIMIT ?`,
      status,
      endedBefore,
      limit - ids.length,
    )
    for (const { id } of rows) ids.push(id)
  }
  return ids
}

function readStats(db: Connection): BackendStats {
  const now = readClock(db)
  const byStatus: Record<InstanceStatus, number> = {
    'in-progress': 0,
    completed: 0,
    failed: 0,
    cancelled: 0,
    paused: 0,
  }
  const statuses = db.all<{ status: InstanceStatus; count: number }>(
    'SELECT status, count(*) AS count FROM {instance} GROUP BY status',
  )
  for (const { status, count } of statuses) byStatus[status] = count
  const ready = count(
    db,
    `SELECT count(*) AS count, min(available_since) AS oldest
    FROM {task} INDEXED BY {task_ready} WHERE queue = ${QUEUE.ready} AND available_since <= ?`,
    now,
  )
  const expired = count(
    db,
    `SELECT count(*) AS count, min(available_since) AS oldest
    FROM {task} INDEXED BY {task_claimed}
    WHERE queue = ${QUEUE.claimed} AND expires_at <= ? AND available_since <= ?`,
    now,
    now,
  )
  const claimed = count(
    db,
    `SELECT count(*) AS count, NULL AS oldest FROM {task} INDEXED BY {task_claimed}
    WHERE queue = ${QUEUE.claimed} AND (expires_at IS NULL OR expires_at > ?)`,
    now,
  )
  const held = count(
    db,
    `SELECT count(*) AS count, NULL AS oldest FROM {task} INDEXED BY {task_held}
    WHERE queue = ${QUEUE.none} AND token IS NOT NULL AND (expires_at IS NULL OR expires_at > ?)`,
    now,
  )
  const oldest = Math.min(ready.oldest ?? Infinity, expired.oldest ?? Infinity)
  return {
    byStatus,
    available: ready.count + expired.count,
    claimed: claimed.count + held.count,
    oldestAvailableAgeMs: oldest === Infinity ? null : now - oldest,
  }
}

function count(
  db: Connection,
  sql: string,
  ...times: readonly number[]
): { readonly count: number; readonly oldest: number | null } {
  return (
    db.get<{ count: number; oldest: number | null }>(sql, ...times) ?? { count: 0, oldest: null }
  )
}
