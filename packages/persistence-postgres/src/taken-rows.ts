import {
  type ClaimedEntry,
  type ClaimRequest,
  type DispatchEntry,
  type Dispatched,
  type HeldClaim,
  later,
  type StoredInstance,
} from '@sayiir/persistence-core/adapter'
import type { Row } from './client.ts'
import { bytes, number, readHead, tagsOf, text, toInstance } from './records.ts'

/** Where a task begins in the reply to a claim of one, after the clock, what is due, and the only class. */
const TASK_OF_ONE = 3
/** Where its input is that was looked for when the rest was written. */
const LATE_INPUT_OF_ONE = TASK_OF_ONE + 23
const NONE: readonly never[] = []

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
    const claim = claimOf(row, first, this.#now, workerId, ttlMs)
    // Left out where it is the one before.
    if (row[first + 6] !== null) {
      this.#stored =
        row[first + 4] === null
          ? instanceOf(row, first, claim)
          : toInstance(row, instanceId, first + 4, first + 6)
    }
    return entryOf({ instanceId, taskId, claim, deliveries }, this.#stored, input)
  }
}

/** The reply to a claim of one, and the only class of the queue; null: as it was. */
export function readOne(
  row: Row,
  { workerId, ttlMs }: ClaimRequest,
): { readonly found: Dispatched<ClaimedEntry>; readonly only: number | null } {
  const now = row[0] as number
  const due = (row[1] ?? NONE) as readonly string[]
  const only = row[2] as number | null
  if (row.length <= TASK_OF_ONE) return { found: { now, tasks: NONE, due }, only }
  const claim = claimOf(row, TASK_OF_ONE, now, workerId, ttlMs)
  const instanceId = row[TASK_OF_ONE + 2] as string
  const stored =
    row[TASK_OF_ONE + 4] === null
      ? instanceOf(row, TASK_OF_ONE, claim)
      : toInstance(row, instanceId, TASK_OF_ONE + 4, TASK_OF_ONE + 6)
  const taskId = row[TASK_OF_ONE + 3] as string
  const deliveries = row[TASK_OF_ONE + 1] as number
  const input = bytes(row, row.length > LATE_INPUT_OF_ONE ? LATE_INPUT_OF_ONE : TASK_OF_ONE + 5)
  const task = entryOf({ instanceId, taskId, claim, deliveries }, stored, input)
  return { found: { now, tasks: [task], due }, only }
}

function entryOf(
  task: Pick<ClaimedEntry, 'instanceId' | 'taskId' | 'claim' | 'deliveries'>,
  stored: StoredInstance | undefined,
  input: Uint8Array | null,
): ClaimedEntry {
  if (stored === undefined) return task
  return input === null ? { ...task, stored } : { ...task, stored, input }
}

function claimOf(
  row: Row,
  first: number,
  claimedAt: number,
  workerId: string,
  ttlMs: number | null,
): HeldClaim {
  const expiresAt = ttlMs === null ? null : later(claimedAt, ttlMs)
  return { workerId, token: row[first] as number, claimedAt, expiresAt }
}

/**
 * The instance of a task in its own row, of which only what is not known by then came along. Its values
 * are those of JSON, so they are taken as they are.
 */
function instanceOf(row: Row, first: number, claim: HeldClaim): StoredInstance {
  const taskId = row[first + 3] as string
  const head = readHead(row[first + 9] as string, {
    instanceId: row[first + 2] as string,
    definitionHash: row[first + 7] as string,
    revision: row[first + 19] as number,
    createdAt: row[first + 20] as number,
    updatedAt: row[first + 21] as number,
    initialInput: bytes(row, first + 10),
    finalOutput: null,
  })
  const entry: DispatchEntry = {
    taskId,
    priority: row[first + 12] as number,
    tags: tagsOf(head, taskId),
    attempt: row[first + 13] as number,
    lastFailedWorker: row[first + 14] as string | null,
    availableSince: row[first + 15] as number,
    inputTaskId: row[first + 16] as string | null,
    deliveries: row[first + 1] as number,
    timer: row[first + 17] as boolean,
    claim,
  }
  return {
    generation: row[first + 6] as string,
    version: row[first + 18] as number,
    head,
    entries: [entry],
    cancel: null,
    pause: null,
    queuedEvents: row[first + 22] as number,
  }
}
