import type { ClaimedTask, TaskClaim, WorkerFilter } from '@sayiir/persistence-core'
import {
  claimEntry,
  type DispatchEntry,
  type HeldClaim,
  isServed,
  later,
  timerOf,
} from '@sayiir/persistence-core/adapter'
import { copyHead, copyTask } from './copies.ts'
import { byRank, type DispatchQueue, type QueuedItem, SIGNALS_KEY } from './dispatch-queue.ts'
import type { InstanceRecord, Records } from './records.ts'

/** A task in the queue, with its instance. */
export interface QueuedTask {
  readonly record: InstanceRecord
  readonly entry: DispatchEntry
}

/** For whom a task is claimed, and for how long. */
export interface ClaimTerms {
  readonly workerId: string
  /** Milliseconds; null never expires. */
  readonly ttlMs: number | null
}

/** Finds tasks and hands them out. */
export class Dispatch {
  readonly #records: Records
  readonly #queue: DispatchQueue

  constructor(records: Records, queue: DispatchQueue) {
    this.#records = records
    this.#queue = queue
  }

  /**
   * Does all that became due: advances timers (rule E1), applies control signals that nobody else
   * will (rule G4), and lets tasks be found whose delay or claim is over.
   */
  settle(at: number): void {
    for (;;) {
      const item = this.#queue.takeDue(at)
      if (item === undefined) return
      const { record } = item
      const entry = record.entries.get(item.key)
      if (item.key === SIGNALS_KEY) this.#records.applySignals(record, record, at)
      else if (entry?.timer === false) this.#queue.ready(item, entry)
      else if (!this.#records.advanceTimer(record, at)) {
        // Due for dispatch and not yet for the position: the clock was put back in between.
        this.#queue.postpone(item, timerOf(record.snapshot) ?? Infinity)
      }
    }
  }

  /** The best available tasks, {@link settle}d first. */
  available(
    filter: WorkerFilter,
    workerId: string | undefined,
    limit: number,
    at: number,
  ): QueuedTask[] {
    this.settle(at)
    return this.#queue.best(filter, workerId, limit, at).flatMap(({ record, key }) => {
      const entry = record.entries.get(key)
      return entry === undefined ? [] : [{ record, entry }]
    })
  }

  /**
   * The best available task of this instance, {@link settle}d first, without those that this worker
   * failed last: they come after all others of any instance (rule D4).
   */
  availableOf(
    record: InstanceRecord,
    filter: WorkerFilter,
    workerId: string,
    at: number,
  ): QueuedTask | undefined {
    this.settle(at)
    let best: QueuedItem | undefined
    for (const item of record.queued.values()) {
      const entry = record.entries.get(item.key)
      if (
        item.visibleAt <= at &&
        entry !== undefined &&
        entry.lastFailedWorker !== workerId &&
        isServed(filter, record.snapshot.definitionHash, entry.tags) &&
        (best === undefined || byRank(item, best) < 0)
      ) {
        best = item
      }
    }
    const entry = best && record.entries.get(best.key)
    return entry && { record, entry }
  }

  /** Milliseconds until something becomes due by itself, or null. */
  nextDueInMs(at: number): number | null {
    const next = this.#queue.nextVisibleAt()
    return next === null ? null : next - at
  }

  /** Claims a task that is free. */
  claim({ record, entry }: QueuedTask, { workerId, ttlMs }: ClaimTerms, at: number): ClaimedTask {
    const claim: HeldClaim = {
      workerId,
      token: this.#records.nextToken(),
      claimedAt: at,
      expiresAt: ttlMs === null ? null : later(at, ttlMs),
    }
    const claimed = claimEntry(entry, claim)
    this.#records.setEntry(record, claimed)
    record.commits.delete(entry.taskId)
    return toClaimedTask({ record, entry: claimed }, claim)
  }
}

/** A claim as its worker knows it. */
export function toTaskClaim({ record, entry }: QueuedTask, claim: HeldClaim): TaskClaim {
  return { instanceId: record.snapshot.instanceId, taskId: entry.taskId, ...claim }
}

/** A claimed task as its worker gets it. */
export function toClaimedTask(task: QueuedTask, claim: HeldClaim): ClaimedTask {
  const { snapshot } = task.record
  return {
    task: copyTask(snapshot, task.entry),
    claim: toTaskClaim(task, claim),
    head: copyHead(snapshot),
  }
}
