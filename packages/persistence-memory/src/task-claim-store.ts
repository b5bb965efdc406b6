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
import {
  claimLost,
  type HeldClaim,
  isEnded,
  isFree,
  isHeldBy,
  type Prolongation,
  prolonged,
  type TaskClaimCalls,
  terminal,
} from '@sayiir/persistence-core/adapter'
import { MemoryCommits } from './commit.ts'
import { copyTask } from './copies.ts'
import { toTaskClaim } from './dispatch.ts'
import { handsOut } from './records.ts'
import type { StoreContext } from './store-context.ts'
import { waitForWakeup } from './wakeup.ts'

/** Claims, and finding what to claim. Commits and waiting are files of their own. */
export class MemoryTaskClaimStore implements TaskClaimCalls {
  readonly #context: StoreContext
  readonly #commits: MemoryCommits

  constructor(context: StoreContext) {
    this.#context = context
    this.#commits = new MemoryCommits(context)
  }

  claimTask({ instanceId, taskId, ...terms }: ClaimTaskParams): TaskClaim | null {
    const { records, dispatch, now } = this.#context
    const record = records.require(instanceId)
    if (!handsOut(record)) return null
    const at = now()
    records.advanceTimer(record, at)
    const entry = record.entries.get(taskId)
    if (entry === undefined || entry.timer || !isFree(entry, at)) return null
    return dispatch.claim({ record, entry }, terms, at).claim
  }

  releaseTaskClaim(ref: TaskClaimRef): void {
    const { records } = this.#context
    const record = records.require(ref.instanceId)
    const entry = record.entries.get(ref.taskId)
    // Nobody's, also where the instance has ended.
    if (entry === undefined || entry.claim === null) return
    if (!isHeldBy(entry, ref)) throw claimLost(ref.instanceId, ref.taskId)
    records.setEntry(record, { ...entry, claim: null })
  }

  prolongTaskClaim(ref: TaskClaimRef, prolongation: Prolongation): TaskClaim {
    const { records, now } = this.#context
    const record = records.require(ref.instanceId)
    const { status } = record.snapshot.state
    if (isEnded(status)) throw terminal(ref.instanceId, status)
    const entry = record.entries.get(ref.taskId)
    if (entry?.claim == null || !isHeldBy(entry, ref)) throw claimLost(ref.instanceId, ref.taskId)
    const moved: HeldClaim = {
      ...entry.claim,
      expiresAt: prolonged(entry.claim.expiresAt, prolongation, now()),
    }
    records.setEntry(record, { ...entry, claim: moved })
    return toTaskClaim({ record, entry }, moved)
  }

  findAvailableTasks({ workerId, limit, ...filter }: FindTasksParams): AvailableTask[] {
    const { dispatch, now } = this.#context
    return dispatch
      .available(filter, workerId, limit, now())
      .map(({ record, entry }) => copyTask(record.snapshot, entry))
  }

  claimAvailableTasks({ workerId, limit, ttlMs, ...filter }: ClaimTasksParams): ClaimedTask[] {
    const { dispatch, now } = this.#context
    const at = now()
    return dispatch
      .available(filter, workerId, limit, at)
      .map((task) => dispatch.claim(task, { workerId, ttlMs }, at))
  }

  commitTask(params: CommitTaskParams): CommitReceipt {
    return this.#commits.commitTask(params)
  }

  waitForWakeup(
    params: WaitForWakeupParams,
    signal: AbortSignal | undefined,
  ): Promise<TaskWakeup | null> {
    return waitForWakeup(this.#context, params, signal)
  }
}
