import type {
  AvailableTask,
  ClaimedTask,
  ClaimTaskParams,
  ClaimTasksParams,
  CommitReceipt,
  CommitTaskParams,
  FindTasksParams,
  TaskClaim,
  TaskClaimRef,
  TaskWakeup,
  WaitForWakeupParams,
} from '@sayiir/persistence-core'
import type { Prolongation, TaskClaimCalls } from '@sayiir/persistence-core/adapter'
import { claimTask, prolongClaim, releaseClaim } from './claims.ts'
import { commitTask } from './commit.ts'
import { claimTasks, describeTasks, findTasks, needsUpkeep } from './dispatch.ts'
import { readyTasks } from './ready-queue.ts'
import type { Store } from './store.ts'
import { readClock } from './transaction.ts'
import { waitForWork } from './wakeup.ts'

/** Claims and dispatch in a database. */
export class SqliteTaskClaimStore implements TaskClaimCalls {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  claimTask(params: ClaimTaskParams): Promise<TaskClaim | null> {
    return this.#store.write((transaction) => claimTask(transaction, params))
  }

  releaseTaskClaim(ref: TaskClaimRef): Promise<void> {
    return this.#store.write((transaction) => releaseClaim(transaction, ref))
  }

  prolongTaskClaim(ref: TaskClaimRef, prolongation: Prolongation): Promise<TaskClaim> {
    return this.#store.write((transaction) => prolongClaim(transaction, ref, prolongation))
  }

  async findAvailableTasks({
    workerId,
    limit,
    ...filter
  }: FindTasksParams): Promise<AvailableTask[]> {
    const { routes, options } = this.#store
    const { agingIntervalMs } = options
    const query = { filter, workerId, limit, agingIntervalMs }
    const found = await this.#store.read((db) => {
      const now = readClock(db)
      if (needsUpkeep(db, now)) return null
      return describeTasks(db, readyTasks(db, routes, { ...query, now }).tasks)
    })
    // Something must be taken care of first, which takes the write lock.
    return found ?? this.#store.write((transaction) => findTasks(transaction, query))
  }

  async claimAvailableTasks({
    workerId,
    limit,
    ttlMs,
    ...filter
  }: ClaimTasksParams): Promise<ClaimedTask[]> {
    const { agingIntervalMs } = this.#store.options
    const { tasks, failure } = await this.#store.write((transaction) =>
      claimTasks(transaction, { filter, workerId, limit, ttlMs, agingIntervalMs }),
    )
    if (failure !== null && tasks.length === 0) throw failure
    return [...tasks]
  }

  commitTask(params: CommitTaskParams): Promise<CommitReceipt> {
    const { agingIntervalMs } = this.#store.options
    return this.#store.write((transaction) => commitTask(transaction, params, agingIntervalMs))
  }

  waitForWakeup(
    { timeoutMs, ...filter }: WaitForWakeupParams,
    signal: AbortSignal | undefined,
  ): Promise<TaskWakeup | null> {
    return waitForWork(this.#store, filter, timeoutMs, signal)
  }
}
