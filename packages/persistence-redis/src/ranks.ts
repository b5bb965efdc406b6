import { compareIds, type FoundTask, orderKey } from '@sayiir/persistence-core/adapter'

/** What decides which of the tasks that several shards found comes first. */
export interface Rank {
  readonly isOwnFailure: boolean
  readonly key: number
  readonly since: number
  readonly task: FoundTask
}

/** The rank of a task for a worker. */
export function rankOf(task: FoundTask, workerId: string, agingIntervalMs: number): Rank {
  const entry = task.stored?.entries.find(({ taskId }) => taskId === task.taskId)
  return {
    isOwnFailure: entry?.lastFailedWorker === workerId,
    key: entry === undefined ? 0 : orderKey(entry, agingIntervalMs),
    since: entry?.availableSince ?? 0,
    task,
  }
}

/** Best first (rules D2 and D4). */
export function compareRanks(a: Rank, b: Rank): number {
  return (
    Number(a.isOwnFailure) - Number(b.isOwnFailure) ||
    a.key - b.key ||
    a.since - b.since ||
    compareIds(a.task.instanceId, b.task.instanceId) ||
    compareIds(a.task.taskId, b.task.taskId)
  )
}
