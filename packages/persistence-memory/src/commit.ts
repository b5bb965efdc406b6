import {
  applyOutcome,
  type ClaimedTask,
  type ClaimNext,
  type CommitReceipt,
  type CommitTaskParams,
  type TaskOutcome,
} from '@sayiir/persistence-core'
import {
  applySignals,
  type CommitRecord,
  claimLost,
  isEnded,
  isHeldBy,
  isRepeated,
  type PlanOptions,
  terminal,
} from '@sayiir/persistence-core/adapter'
import { toClaimedTask } from './dispatch.ts'
import { type InstanceRecord, place, placed, takeQueuedEvent } from './records.ts'
import type { StoreContext } from './store-context.ts'

/** Commits, and what a worker claims with them. */
export class MemoryCommits {
  readonly #context: StoreContext

  constructor(context: StoreContext) {
    this.#context = context
  }

  commitTask({ claim, outcome, claimNext }: CommitTaskParams): CommitReceipt {
    const { records, now } = this.#context
    const { instanceId, taskId, workerId } = claim
    const record = records.require(instanceId)
    const entry = record.entries.get(taskId)
    const isHeld = isHeldBy(entry, claim)
    const last = record.commits.get(taskId)
    // Who holds the task commits anew, even where only the worker's name tells.
    if (!isHeld && isRepeated(last, claim)) return this.#repeated(last)
    const { status } = record.snapshot.state
    if (isEnded(status)) throw terminal(instanceId, status)
    const token = entry?.claim?.token
    if (!isHeld || token === undefined) throw claimLost(instanceId, taskId)

    const at = now()
    const before = placed(record)
    const applied = applyOutcome(record.snapshot, claim, outcome, at)
    const moved = place(before, applied, at, planOptions(taskId, outcome))
    const signalled = place(moved, applySignals(applied, record, at), at)
    records.change(record, takeQueuedEvent(record, signalled, at), at)

    const { revision, state } = record.snapshot
    // An instance that was paused meanwhile hands out nothing, and neither does its worker go on.
    const next =
      claimNext === undefined || status === 'paused'
        ? null
        : this.#claimNext(record, workerId, claimNext, at)
    const receipt = { revision, status: state.status, next }
    // After the next claim: one on this very task must not make a repeat of this commit fail.
    record.commits.set(taskId, {
      ...receipt,
      workerId,
      token,
      next: next === null ? null : nameOf(next),
    })
    return receipt
  }

  /** The first receipt again, with the next task if its claim is still held. */
  #repeated({ revision, status, workerId, next }: CommitRecord): CommitReceipt {
    if (next === null) return { revision, status, next }
    const record = this.#context.records.get(next.instanceId)
    const entry = record?.entries.get(next.taskId)
    return {
      revision,
      status,
      next:
        record !== undefined && entry?.claim != null && isHeldBy(entry, { ...next, workerId })
          ? toClaimedTask({ record, entry }, entry.claim)
          : null,
    }
  }

  /** The following task of this instance, else the best of any (rule D6). */
  #claimNext(
    record: InstanceRecord,
    workerId: string,
    { ttlMs, ...filter }: ClaimNext,
    at: number,
  ): ClaimedTask | null {
    const { dispatch } = this.#context
    const next =
      dispatch.availableOf(record, filter, workerId, at) ??
      dispatch.available(filter, workerId, 1, at)[0]
    return next === undefined ? null : dispatch.claim(next, { workerId, ttlMs }, at)
  }
}

function planOptions(taskId: string, { kind }: TaskOutcome): PlanOptions {
  return kind === 'completed' ? { completed: taskId } : { retried: taskId }
}

function nameOf({ claim: { instanceId, taskId, token } }: ClaimedTask): CommitRecord['next'] {
  return { instanceId, taskId, token }
}
