import type {
  BackendStats,
  InstanceStatus,
  PruneParams,
  PruneResult,
} from '@sayiir/persistence-core'
import type { Client } from './client.ts'
import { texts } from './literals.ts'
import { number, text } from './records.ts'

/** Instances that are deleted in one transaction at most. */
const BATCH = 200

const ENDED = 'SELECT {s}.ended($1::text::bigint, $2::text::text[], $3::text::integer)'

const DELETE = 'SELECT {s}.delete_instances($1::text::text[], $2::text::bigint)::text'

const COUNTS = `SELECT status, sum(instances) FROM {s}.instance_count GROUP BY status`

const TASKS = 'SELECT available, claimed, oldest_age FROM {s}.task_stats()'

/** Pruning and numbers. */
export class Maintenance {
  readonly #client: Client

  constructor(client: Client) {
    this.#client = client
  }

  async prune(
    { endedBefore, statuses, limit, dryRun }: Required<PruneParams>,
    signal: AbortSignal | undefined,
  ): Promise<PruneResult> {
    const ended = async (most: number): Promise<string[]> => {
      const rows = await this.#client.query(ENDED, [
        ...[String(endedBefore), texts(statuses), String(most)],
      ])
      return rows.map((row) => text(row, 0))
    }
    if (dryRun) {
      const found = await ended(limit + 1)
      return { deleted: Math.min(found.length, limit), more: found.length > limit }
    }
    let deleted = 0
    for (;;) {
      signal?.throwIfAborted()
      const size = Math.min(limit - deleted, BATCH)
      const found = await ended(size + 1)
      const [row = []] = await this.#client.query(DELETE, [
        ...[texts(found.slice(0, size)), String(endedBefore)],
      ])
      deleted += number(row, 0)
      const more = found.length > size
      if (!more || deleted >= limit) return { deleted, more }
    }
  }

  async stats(): Promise<BackendStats> {
    const byStatus: Record<InstanceStatus, number> = {
      'in-progress': 0,
      completed: 0,
      failed: 0,
      cancelled: 0,
      paused: 0,
    }
    const [counts, [tasks = []]] = await Promise.all([
      this.#client.query(COUNTS),
      this.#client.query(TASKS),
    ])
    for (const row of counts) byStatus[text(row, 0) as InstanceStatus] = number(row, 1)
    return {
      byStatus,
      available: number(tasks, 0),
      claimed: number(tasks, 1),
      oldestAvailableAgeMs: tasks[2] === null ? null : number(tasks, 2),
    }
  }
}
