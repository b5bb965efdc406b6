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
  /** Of the database, and of this process's own commits. */
  readonly version: string
  /** Epoch milliseconds; Infinity if nothing waits for its time. */
  readonly dueAt: number
}

/**
 * Waits by looking. While nobody commits and nothing becomes due, a look is one pragma; this
 * process's own commits tell of themselves.
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
        const version = `${dataVersion(db)} ${nudge.commits}`
        if (quiet?.version === version && now < quiet.dueAt) {
          return { wakeup: null, dueInMs: quiet.dueAt - now }
        }
        if (needsUpkeep(db, now)) return null
        const { tasks, nextDueAt } = readyTasks(db, routes, { ...query, now })
        const [task] = describeTasks(db, tasks) ?? [null]
        if (task === null) return null
        if (task !== undefined) return { wakeup: toWakeup(task) }
        quiet = { version, dueAt: Math.min(nextDueAt, nextUpkeepAt(db)) }
        return { wakeup: null, dueInMs: quiet.dueAt - now }
      })
      // Something must be taken care of first, which takes the write lock.
      return (
        found ??
        store.write((transaction) => {
          const [task] = findTasks(transaction, query)
          return { wakeup: task === undefined ? null : toWakeup(task), dueInMs: 0 }
        })
      )
    },
  })
}

function toWakeup({ instanceId, taskId, definitionHash }: AvailableTask): TaskWakeup {
  return { instanceId, taskId, definitionHash }
}

/** Changes when another connection has committed. */
function dataVersion(db: Connection): number {
  const row = db.get<{ data_version: number }>('PRAGMA data_version')
  return (row as { data_version: number }).data_version
}

/** When the next claim expires, the next workflow's last delay is over, or a signal can be applied. */
function nextUpkeepAt(db: Connection): number {
  const row = db.get<{ claim: number | null; timer: number | null; signal: number | null }>(
    `SELECT
      (SELECT min(expires_at) FROM {task} INDEXED BY {task_claimed} WHERE queue = ${QUEUE.claimed}) AS claim,
      (SELECT min(available_since) FROM {task} INDEXED BY {task_timer} WHERE queue = ${QUEUE.timer}) AS timer,
      (SELECT min(due_at) FROM {signal} INDEXED BY {signal_due}) AS signal`,
  )
  return Math.min(row?.claim ?? Infinity, row?.timer ?? Infinity, row?.signal ?? Infinity)
}
