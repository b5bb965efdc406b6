import type { AvailableTask, TaskWakeup, WorkerFilter } from '@sayiir/persistence-core'
import { pollForWakeup } from '@sayiir/persistence-core/adapter'
import type { Connection } from './database.ts'
import { describeTasks, findTasks, needsUpkeep } from './dispatch.ts'
import { readyTasks } from './ready-queue.ts'
import { QUEUE } from './records.ts'
import type { Store } from './store.ts'
import { readClock } from './transaction.ts'

/** When a look is worth its cost again. */
interface Quiet {
  /** Of the database, by {@link versionOf}. */
  readonly version: string
  /** Epoch milliseconds; Infinity if nothing waits for its time. */
  readonly dueAt: number
}

/**
 * Waits by looking. While nobody commits and nothing becomes due, a look reads a version and no more;
 * this backend's own commits tell of themselves.
 */
export function waitForWork(
  store: Store,
  filter: WorkerFilter,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<TaskWakeup | null> {
  const { lifecycle, routes, options, nudge } = store
  const query = { filter, workerId: null, limit: 1, agingIntervalMs: options.agingIntervalMs }
  let quiet: Quiet | null = null
  return pollForWakeup({
    lifecycle,
    signal,
    timeoutMs,
    intervalMs: options.pollIntervalMs,
    nudged: () => nudge.signal,
    peek: async () => {
      const found = await store.read((db) => {
        const now = readClock(db)
        const version = versionOf(db)
        if (quiet?.version === version && now < quiet.dueAt) {
          return { wakeup: null, dueInMs: quiet.dueAt - now }
        }
        if (needsUpkeep(db, now)) return null
        const { tasks, nextDueAt } = readyTasks(db, routes, { ...query, now })
        const [task] = describeTasks(db, tasks) ?? [null]
        if (task === null) return null
        if (task !== undefined) return { wakeup: toWakeup(task) }
        quiet = { version, dueAt: Math.min(nextDueAt, nextUpkeepAt(db, now)) }
        return { wakeup: null, dueInMs: quiet.dueAt - now }
      })
      // Something must be taken care of first, which takes the write lock.
      return (
        found ??
        store.write((transaction) => {
          const { db, now } = transaction
          const before = versionOf(db)
          const [task] = findTasks(transaction, query)
          if (task !== undefined) return { wakeup: toWakeup(task) }
          const version = versionOf(db)
          if (version !== before) return { wakeup: null, dueInMs: 0 }
          // What is due still can not be read: not to be tried again and again.
          const { nextDueAt } = readyTasks(db, routes, { ...query, now })
          quiet = { version, dueAt: Math.min(nextDueAt, nextUpkeepAt(db, now)) }
          return { wakeup: null, dueInMs: quiet.dueAt - now }
        })
      )
    },
  })
}

function toWakeup({ instanceId, taskId, definitionHash }: AvailableTask): TaskWakeup {
  return { instanceId, taskId, definitionHash }
}

/**
 * Changes when another connection has committed, or this one has changed rows, whoever used it: a
 * borrowed one may have several backends.
 */
function versionOf(db: Connection): string {
  const others = db.get<{ data_version: number }>('PRAGMA data_version')
  const own = db.get<{ changes: number }>('SELECT total_changes() AS changes')
  return `${others?.data_version} ${own?.changes}`
}

/** When, after now, the next claim expires, the next workflow's last delay is over, or a signal can be applied. */
function nextUpkeepAt(db: Connection, now: number): number {
  const row = db.get<{ claim: number | null; timer: number | null; signal: number | null }>(
    `SELECT
      (SELECT min(expires_at) FROM {task} INDEXED BY {task_claimed}
        WHERE queue = ${QUEUE.claimed} AND expires_at > ?) AS claim,
      (SELECT min(available_since) FROM {task} INDEXED BY {task_timer}
        WHERE queue = ${QUEUE.timer} AND available_since > ?) AS timer,
      (SELECT min(due_at) FROM {signal} INDEXED BY {signal_due} WHERE due_at > ?) AS signal`,
    now,
    now,
    now,
  )
  return Math.min(row?.claim ?? Infinity, row?.timer ?? Infinity, row?.signal ?? Infinity)
}
