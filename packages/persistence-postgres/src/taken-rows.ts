import { BackendError } from '@sayiir/persistence-core'
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

/** Where a task begins in the first row of a reply to a claim, after the clock, what is due, and the only class. */
export const TASK = 3
/** Where the input of a lone one is that was looked for when the rest was written. */
const LATE_INPUT = TASK + 23
const NONE: readonly never[] = []

/** The claimed tasks of a reply, best first. */
export class TakenRows {
  readonly #rows: readonly Row[]
  readonly #now: number
  readonly #first: number
  #at: number
  #stored: StoredInstance | undefined
  /** Why the instance can not be read that `#stored` would be. */
  #failure: unknown

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

  /**
   * The next one, for whoever asked for it so; null: there are no more.
   *
   * @throws `SERIALIZATION`, `SCHEMA`: what is stored of its instance can not be read. The one after
   * it comes with the next call.
   */
  next(request: Pick<ClaimRequest, 'workerId' | 'ttlMs'>): ClaimedEntry | null {
    const row = this.#rows[this.#at]
    if (row === undefined) return null
    this.#at += 1
    const first = this.#first
    const task = taskOf(row, first, this.#now, request)
    // Left out where it is the one before.
    if (row[first + 6] !== null) this.#read(row, task)
    if (this.#failure !== undefined) throw this.#failure
    return entryOf(task, this.#stored, bytes(row, first + 5))
  }

  #read(row: Row, task: Task): void {
    this.#stored = undefined
    this.#failure = undefined
    try {
      this.#stored = storedOf(row, this.#first, task)
    } catch (error) {
      this.#failure = error
    }
  }
}

/** The task that came with a write that has landed: that it can not be read is not to be told as a failure of that. */
export function nextIfReadable(
  taken: TakenRows,
  request: Pick<ClaimRequest, 'workerId' | 'ttlMs'>,
): ClaimedEntry | null {
  try {
    return taken.next(request)
  } catch (error) {
    if (BackendError.is(error)) return null
    throw error
  }
}

/** The reply to a claim of one, and the only class of the queue; null: as it was. */
export function readOne(
  row: Row,
  request: ClaimRequest,
): { readonly found: Dispatched<ClaimedEntry>; readonly only: number | null } {
  const now = row[0] as number
  const due = (row[1] ?? NONE) as readonly string[]
  const only = row[2] as number | null
  if (row.length <= TASK) return { found: { now, tasks: NONE, due }, only }
  const task = taskOf(row, TASK, now, request)
  const input = bytes(row, row.length > LATE_INPUT ? LATE_INPUT : TASK + 5)
  const tasks = [entryOf(task, storedOf(row, TASK, task), input)]
  return { found: { now, tasks, due }, only }
}

/** A claimed task without its instance. */
type Task = Pick<ClaimedEntry, 'instanceId' | 'taskId' | 'claim' | 'deliveries'>

function taskOf(
  row: Row,
  first: number,
  claimedAt: number,
  { workerId, ttlMs }: Pick<ClaimRequest, 'workerId' | 'ttlMs'>,
): Task {
  const expiresAt = ttlMs === null ? null : later(claimedAt, ttlMs)
  return {
    instanceId: text(row, first + 2),
    taskId: text(row, first + 3),
    claim: { workerId, token: row[first] as number, claimedAt, expiresAt },
    deliveries: number(row, first + 1),
  }
}

/** The instance of a task, in whichever form it came. */
function storedOf(row: Row, first: number, { instanceId, claim }: Task): StoredInstance {
  return row[first + 4] === null
    ? instanceOf(row, first, claim)
    : toInstance(row, instanceId, first + 4, first + 6)
}

function entryOf(
  task: Task,
  stored: StoredInstance | undefined,
  input: Uint8Array | null,
): ClaimedEntry {
  if (stored === undefined) return task
  return input === null ? { ...task, stored } : { ...task, stored, input }
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
