import type {
  Abortable,
  AvailableTask,
  ClaimedTask,
  ClaimTaskParams,
  ClaimTasksParams,
  FindTasksParams,
  TaskClaim,
  TaskClaimRef,
} from '@sayiir/persistence-core'
import {
  checkAbortable,
  checkClaimRef,
  checkClaimTaskParams,
  checkClaimTasksParams,
  checkFindParams,
  checkTtl,
  claimLost,
  type HeldClaim,
  isEnded,
  isFree,
  isHeldBy,
  later,
  terminal,
} from '@sayiir/persistence-core/adapter'
import { copyTask } from './copies.ts'
import { toTaskClaim } from './dispatch.ts'
import { handsOut } from './records.ts'
import type { StoreContext } from './store-context.ts'

/** Claims, and finding what to claim. Commits are a file of their own. */
export class MemoryTaskClaimStore {
  readonly #context: StoreContext

  constructor(context: StoreContext) {
    this.#context = context
  }

  async claimTask(params: ClaimTaskParams, options?: Abortable): Promise<TaskClaim | null> {
    const { lifecycle, records, dispatch, now } = this.#context
    const { instanceId, taskId, ...terms } = checkClaimTaskParams(params)
    return lifecycle.run(checkAbortable(options), () => {
      const record = records.require(instanceId)
      if (!handsOut(record)) return null
      const at = now()
      records.advanceTimer(record, at)
      const entry = record.entries.get(taskId)
      if (entry === undefined || entry.timer || !isFree(entry, at)) return null
      return dispatch.claim({ record, entry }, terms, at).claim
    })
  }

  async releaseTaskClaim(claim: TaskClaimRef, options?: Abortable): Promise<void> {
    const { lifecycle, records } = this.#context
    const ref = checkClaimRef(claim)
    return lifecycle.run(checkAbortable(options), () => {
      const record = records.require(ref.instanceId)
      const entry = record.entries.get(ref.taskId)
      // Nobody's, also where the instance has ended.
      if (entry === undefined || entry.claim === null) return
      if (!isHeldBy(entry, ref)) throw claimLost(ref.instanceId, ref.taskId)
      records.setEntry(record, { ...entry, claim: null })
    })
  }

  async extendTaskClaim(
    claim: TaskClaimRef,
    additionalMs: number,
    options?: Abortable,
  ): Promise<TaskClaim> {
    const ms = checkTtl(additionalMs, 'additionalMs')
    return this.#move(claim, options, (expiresAt, at) => later(Math.max(expiresAt, at), ms))
  }

  async renewTaskClaim(
    claim: TaskClaimRef,
    ttlMs: number,
    options?: Abortable,
  ): Promise<TaskClaim> {
    const ms = checkTtl(ttlMs, 'ttlMs')
    return this.#move(claim, options, (_, at) => later(at, ms))
  }

  async findAvailableTasks(params: FindTasksParams, options?: Abortable): Promise<AvailableTask[]> {
    const { lifecycle, dispatch, now } = this.#context
    const { workerId, limit, ...filter } = checkFindParams(params)
    return lifecycle.run(checkAbortable(options), () =>
      dispatch
        .available(filter, workerId, limit, now())
        .map(({ record, entry }) => copyTask(record.snapshot, entry)),
    )
  }

  async claimAvailableTasks(params: ClaimTasksParams, options?: Abortable): Promise<ClaimedTask[]> {
    const { lifecycle, dispatch, now } = this.#context
    const { workerId, limit, ttlMs, ...filter } = checkClaimTasksParams(params)
    return lifecycle.run(checkAbortable(options), () => {
      const at = now()
      return dispatch
        .available(filter, workerId, limit, at)
        .map((task) => dispatch.claim(task, { workerId, ttlMs }, at))
    })
  }

  /** Moves a claim's expiry; one that never expires stays so. */
  async #move(
    claim: TaskClaimRef,
    options: Abortable | undefined,
    toExpiry: (expiresAt: number, at: number) => number,
  ): Promise<TaskClaim> {
    const { lifecycle, records, now } = this.#context
    const ref = checkClaimRef(claim)
    return lifecycle.run(checkAbortable(options), () => {
      const record = records.require(ref.instanceId)
      const { status } = record.snapshot.state
      if (isEnded(status)) throw terminal(ref.instanceId, status)
      const entry = record.entries.get(ref.taskId)
      if (entry?.claim == null || !isHeldBy(entry, ref)) throw claimLost(ref.instanceId, ref.taskId)
      const { expiresAt } = entry.claim
      const moved: HeldClaim = {
        ...entry.claim,
        expiresAt: expiresAt === null ? null : toExpiry(expiresAt, now()),
      }
      records.setEntry(record, { ...entry, claim: moved })
      return toTaskClaim({ record, entry }, moved)
    })
  }
}
