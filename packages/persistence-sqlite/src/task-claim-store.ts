import type {
  Abortable,
  AvailableTask,
  ClaimedTask,
  ClaimTaskParams,
  ClaimTasksParams,
  CommitReceipt,
  CommitTaskParams,
  FindTasksParams,
  TaskClaim,
  TaskClaimRef,
  TaskClaimStore,
  TaskWakeup,
  WaitForWakeupParams,
} from '@sayiir/persistence-core'
import {
  checkAbortable,
  checkClaimRef,
  checkClaimTaskParams,
  checkClaimTasksParams,
  checkCommitParams,
  checkFindParams,
  checkTtl,
  checkWaitParams,
  later,
} from '@sayiir/persistence-core/adapter'
import { claimTask, moveExpiry, releaseClaim } from './claims.ts'
import { commitTask } from './commit.ts'
import { claimTasks, describeTasks, findTasks, needsUpkeep } from './dispatch.ts'
import { readyTasks } from './ready-queue.ts'
import type { Store } from './store.ts'
import { readClock } from './transaction.ts'
import { waitForWork } from './wakeup.ts'

/** Claims and dispatch in a database. */
export class SqliteTaskClaimStore implements TaskClaimStore {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async claimTask(params: ClaimTaskParams, options?: Abortable): Promise<TaskClaim | null> {
    const checked = checkClaimTaskParams(params)
    return this.#store.write(checkAbortable(options), (transaction) =>
      claimTask(transaction, checked),
    )
  }

  async releaseTaskClaim(claim: TaskClaimRef, options?: Abortable): Promise<void> {
    const ref = checkClaimRef(claim)
    return this.#store.write(checkAbortable(options), (transaction) =>
      releaseClaim(transaction, ref),
    )
  }

  async extendTaskClaim(
    claim: TaskClaimRef,
    additionalMs: number,
    options?: Abortable,
  ): Promise<TaskClaim> {
    const ref = checkClaimRef(claim)
    const ms = checkTtl(additionalMs, 'additionalMs')
    return this.#store.write(checkAbortable(options), (transaction) =>
      moveExpiry(transaction, ref, (expiresAt) => later(Math.max(expiresAt, transaction.now), ms)),
    )
  }

  async renewTaskClaim(
    claim: TaskClaimRef,
    ttlMs: number,
    options?: Abortable,
  ): Promise<TaskClaim> {
    const ref = checkClaimRef(claim)
    const ms = checkTtl(ttlMs, 'ttlMs')
    return this.#store.write(checkAbortable(options), (transaction) =>
      moveExpiry(transaction, ref, () => later(transaction.now, ms)),
    )
  }

  async findAvailableTasks(params: FindTasksParams, options?: Abortable): Promise<AvailableTask[]> {
    const { workerId, limit, ...filter } = checkFindParams(params)
    const { agingIntervalMs } = this.#store.options
    const query = { filter, workerId, limit, agingIntervalMs }
    const { routes, lifecycle } = this.#store
    return lifecycle.run(checkAbortable(options), async () => {
      const found = await this.#store.readNow((db) => {
        const now = readClock(db)
        if (needsUpkeep(db, now)) return null
        return describeTasks(db, readyTasks(db, routes, { ...query, now }).tasks)
      })
      // Something must be taken care of first, which takes the write lock.
      return found ?? this.#store.writeNow((transaction) => findTasks(transaction, query))
    })
  }

  async claimAvailableTasks(params: ClaimTasksParams, options?: Abortable): Promise<ClaimedTask[]> {
    const { workerId, limit, ttlMs, ...filter } = checkClaimTasksParams(params)
    const { agingIntervalMs } = this.#store.options
    return this.#store.write(checkAbortable(options), (transaction) =>
      claimTasks(transaction, { filter, workerId, limit, ttlMs, agingIntervalMs }),
    )
  }

  async commitTask(params: CommitTaskParams, options?: Abortable): Promise<CommitReceipt> {
    const { agingIntervalMs, maxPayloadBytes } = this.#store.options
    const checked = checkCommitParams(params, maxPayloadBytes)
    return this.#store.write(checkAbortable(options), (transaction) =>
      commitTask(transaction, checked, agingIntervalMs),
    )
  }

  async waitForWakeup(
    params: WaitForWakeupParams,
    options?: Abortable,
  ): Promise<TaskWakeup | null> {
    const { timeoutMs, ...filter } = checkWaitParams(params)
    const signal = checkAbortable(options)
    return this.#store.lifecycle.run(signal, () =>
      waitForWork(this.#store, filter, timeoutMs, signal),
    )
  }
}
