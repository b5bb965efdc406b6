import {
  type ClaimedEntry,
  type ClaimRequest,
  type HeldClaim,
  later,
  type StoredInstance,
} from '@sayiir/persistence-core/adapter'
import type { Row } from './client.ts'
import { bytes, number, text, toInstance } from './records.ts'

/** Where the columns of a claimed task begin, in replies that bring some: its token comes first. */
const FIRST = 4

/** The claimed tasks of a reply, after its first row, best first. */
export class TakenRows {
  readonly #rows: readonly Row[]
  readonly #now: number
  #taken = 0
  #stored: StoredInstance | undefined

  /** @param now The store's clock, at which they were claimed. */
  constructor(rows: readonly Row[], now: number) {
    this.#rows = rows
    this.#now = now
  }

  /** The next one, for whoever asked for it so; null: there are no more. */
  next({ workerId, ttlMs }: Pick<ClaimRequest, 'workerId' | 'ttlMs'>): ClaimedEntry | null {
    this.#taken += 1
    const row = this.#rows[this.#taken]
    if (row === undefined) return null
    const instanceId = text(row, FIRST + 2)
    // Left out where it is the one before.
    if (row[FIRST + 6] !== null) this.#stored = toInstance(row, instanceId, FIRST + 4, FIRST + 6)
    const input = bytes(row, FIRST + 5)
    const claim: HeldClaim = {
      workerId,
      token: number(row, FIRST),
      claimedAt: this.#now,
      expiresAt: ttlMs === null ? null : later(this.#now, ttlMs),
    }
    return {
      ...{ instanceId, taskId: text(row, FIRST + 3), claim, deliveries: number(row, FIRST + 1) },
      ...(this.#stored === undefined ? undefined : { stored: this.#stored }),
      ...(input === null ? undefined : { input }),
    }
  }
}
