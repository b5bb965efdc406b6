import {
  type ClaimedEntry,
  type ClaimRequest,
  type HeldClaim,
  later,
  type StoredInstance,
} from '@sayiir/persistence-core/adapter'
import type { Row } from './client.ts'
import { bytes, number, text, toInstance } from './records.ts'

/** The claimed tasks of a reply, best first. */
export class TakenRows {
  readonly #rows: readonly Row[]
  readonly #now: number
  readonly #first: number
  #at: number
  #stored: StoredInstance | undefined

  /**
   * @param now The store's clock, at which they were claimed.
   * @param at The first row with a task.
   * @param first The column of a task's token, which the others follow.
   */
  constructor(rows: readonly Row[], now: number, at: number, first: number) {
    this.#rows = rows
    this.#now = now
    this.#at = at
    this.#first = first
  }

  /** The next one, for whoever asked for it so; null: there are no more. */
  next({ workerId, ttlMs }: Pick<ClaimRequest, 'workerId' | 'ttlMs'>): ClaimedEntry | null {
    const row = this.#rows[this.#at]
    if (row === undefined) return null
    this.#at += 1
    const first = this.#first
    const instanceId = text(row, first + 2)
    // Left out where it is the one before.
    if (row[first + 6] !== null) this.#stored = toInstance(row, instanceId, first + 4, first + 6)
    const input = bytes(row, first + 5)
    const claim: HeldClaim = {
      workerId,
      token: number(row, first),
      claimedAt: this.#now,
      expiresAt: ttlMs === null ? null : later(this.#now, ttlMs),
    }
    return {
      ...{ instanceId, taskId: text(row, first + 3), claim, deliveries: number(row, first + 1) },
      ...(this.#stored === undefined ? undefined : { stored: this.#stored }),
      ...(input === null ? undefined : { input }),
    }
  }
}
