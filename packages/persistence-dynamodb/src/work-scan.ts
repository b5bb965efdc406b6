import {
  compareIds,
  type DispatchEntry,
  isFree,
  isLive,
  isServed,
  orderKey,
  TIMER_TASK_ID,
  type WorkRequest,
} from '@sayiir/persistence-core/adapter'
import type { InstanceItem, State } from './instance-item.ts'
import type { Known } from './instance-store.ts'
import type { TaskClass } from './task-class.ts'

/** A task that a worker can have. */
export interface Candidate {
  readonly known: Known
  readonly entry: DispatchEntry
  /** Whether this worker failed it last: it comes after all others (rule D4). */
  readonly isOwnFailure: boolean
  readonly rank: number
}

/** A key that an index gave. */
export interface Hint {
  readonly instanceId: string
  /** Sort key of the item that stands in the index. */
  readonly s: string
  readonly of: TaskClass | null
  readonly rank: number
  /** The instance, where the index has it whole; null: it has to be read. */
  readonly item: InstanceItem | null
}

/** What one look has come to so far. */
export class WorkScan {
  readonly now: number
  readonly due: Set<string> = new Set()
  nextDueAt: number | null = null
  /** Best first; those without a class before all. */
  hints: Hint[] = []
  readonly #request: Pick<WorkRequest, 'filter' | 'workerId'>
  readonly #agingIntervalMs: number
  readonly #candidates: Candidate[] = []
  readonly #hinted = new Set<string>()
  readonly #judged = new Map<string, boolean>()
  #isSorted = true

  constructor(
    request: Pick<WorkRequest, 'filter' | 'workerId'>,
    agingIntervalMs: number,
    now: number,
  ) {
    this.#request = request
    this.#agingIntervalMs = agingIntervalMs
    this.now = now
  }

  /** Tasks found that the worker did not fail itself. */
  get count(): number {
    return this.#candidates.reduce((sum, { isOwnFailure }) => sum + (isOwnFailure ? 0 : 1), 0)
  }

  /** Takes in a key; its rank. */
  hint(hint: Omit<Hint, 'rank'>, time: number): number {
    const rank =
      hint.of === null
        ? -Infinity
        : orderKey({ availableSince: time, priority: hint.of.priority }, this.#agingIntervalMs)
    const name = `${hint.of?.id ?? ''}#${hint.instanceId}`
    if (this.#hinted.has(name)) return rank
    this.#hinted.add(name)
    this.hints.push({ ...hint, rank })
    this.#isSorted = false
    return rank
  }

  /** Takes the best, at most so many, none of a worse rank than this. */
  take(count: number, rank: number): Hint[] {
    if (!this.#isSorted) this.hints.sort((a, b) => a.rank - b.rank || 0)
    this.#isSorted = true
    let taken = 0
    while (taken < count && (this.hints[taken]?.rank ?? Infinity) <= rank) taken += 1
    return this.hints.splice(0, taken)
  }

  /** Adds what an instance has to offer; whether the hint led to anything. */
  judge(known: Known, of: TaskClass | null): boolean {
    const { instanceId } = known.item
    const before = this.#judged.get(instanceId)
    if (before !== undefined) return before
    const isUseful = this.#add(known) || (of === null && this.#isEarly(known.state))
    this.#judged.set(instanceId, isUseful)
    return isUseful
  }

  ranked(): Candidate[] {
    return this.#candidates.sort(
      (a, b) =>
        Number(a.isOwnFailure) - Number(b.isOwnFailure) ||
        a.rank - b.rank ||
        a.entry.availableSince - b.entry.availableSince ||
        compareIds(a.known.item.instanceId, b.known.item.instanceId) ||
        compareIds(a.entry.taskId, b.entry.taskId),
    )
  }

  #add(known: Known): boolean {
    const { filter, workerId } = this.#request
    const { head, entries, cancel, pause } = known.state
    const { status } = head.state
    const isBusy = entries.some(({ claim }) => isLive(claim, this.now))
    if (cancel !== null || pause !== null) {
      if (isBusy) return false
      this.due.add(head.instanceId)
      return true
    }
    if (status !== 'in-progress') return false
    let isUseful = false
    for (const entry of entries) {
      if (!isFree(entry, this.now)) continue
      if (entry.taskId === TIMER_TASK_ID) {
        this.due.add(head.instanceId)
        isUseful = true
      } else if (isServed(filter, head.definitionHash, entry.tags)) {
        const isOwnFailure = entry.lastFailedWorker !== null && entry.lastFailedWorker === workerId
        const rank = orderKey(entry, this.#agingIntervalMs)
        this.#candidates.push({ known, entry, isOwnFailure, rank })
        isUseful = true
      }
    }
    return isUseful
  }

  /** Whether a claim is about to expire: the index has it a little early. */
  #isEarly({ entries }: State): boolean {
    const expiries = entries.flatMap(({ claim }) =>
      isLive(claim, this.now) && claim.expiresAt !== null ? [claim.expiresAt] : [],
    )
    if (expiries.length === 0) return false
    const expiry = Math.min(...expiries)
    this.nextDueAt = Math.min(this.nextDueAt ?? expiry, expiry)
    // With expired ones besides, it has to be put back for those who serve them.
    return entries.every(({ claim }) => claim === null || isLive(claim, this.now))
  }
}
