import {
  type ClaimedEntry,
  type ClaimRequest,
  type HeldClaim,
  later,
  type StoredInstance,
} from '@sayiir/persistence-core/adapter'
import type { Row } from './client.ts'
import { bytes, type EntryRecord, number, text, textOrNull, toInstance } from './records.ts'

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
    const taskId = text(row, first + 3)
    const deliveries = number(row, first + 1)
    const input = bytes(row, first + 5)
    const claim: HeldClaim = {
      workerId,
      token: number(row, first),
      claimedAt: this.#now,
      expiresAt: ttlMs === null ? null : later(this.#now, ttlMs),
    }
    // Left out where it is the one before.
    if (row[first + 6] !== null) {
      const entries =
        row[first + 4] === null ? [entryOf(row, first, taskId, deliveries, claim)] : first + 4
      this.#stored = toInstance(row, instanceId, entries, first + 6)
    }
    return {
      ...{ instanceId, taskId, claim, deliveries },
      ...(this.#stored === undefined ? undefined : { stored: this.#stored }),
      ...(input === null ? undefined : { input }),
    }
  }
}

/** The entry of a task in its instance's own row, of which only what is not known by then came along. */
function entryOf(
  row: Row,
  first: number,
  taskId: string,
  deliveries: number,
  { workerId, token, claimedAt, expiresAt }: HeldClaim,
): EntryRecord {
  const priority = number(row, first + 12)
  const attempt = number(row, first + 13)
  const lastFailedWorker = textOrNull(row, first + 14)
  const availableSince = number(row, first + 15)
  const inputTaskId = textOrNull(row, first + 16)
  const isTimer = row[first + 17] === true
  return [
    ...([taskId, priority, attempt, lastFailedWorker, availableSince, inputTaskId] as const),
    ...([deliveries, isTimer, workerId, token, claimedAt, expiresAt] as const),
  ]
}
