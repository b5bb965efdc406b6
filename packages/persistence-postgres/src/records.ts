import type { SnapshotHead, TaskResult } from '@sayiir/persistence-core'
import {
  type DispatchEntry,
  decodeHead,
  type HeadColumns,
  type HeldClaim,
  positionOf,
  type StoredInstance,
  TIMER_TASK_ID,
} from '@sayiir/persistence-core/adapter'
import type { Row } from './client.ts'

/** Columns of an instance, in the order of `toInstance`; `i` is its row. */
export const INSTANCE_COLUMNS: string = `concat_ws(' ', i.generation, i.version, i.revision,
  i.created_at, i.updated_at, i.queued_events), i.definition_hash, i.signals, i.head,
  encode(i.initial_input, 'hex'), encode(i.final_output, 'hex')`

/** The slot of the control signals. */
const NO_TASK = 2_147_483_647
const CLASSES_OF_ROUTE = 2 ** 27

/** A dispatch entry as the database puts it. */
export type EntryRecord = readonly [
  taskId: string,
  priority: number,
  attempt: number,
  lastFailedWorker: string | null,
  availableSince: number,
  inputTaskId: string | null,
  deliveries: number,
  timer: boolean,
  workerId: string | null,
  token: number | null,
  claimedAt: number | null,
  expiresAt: number | null,
]

/** A column's text. */
export function text(row: Row, column: number): string {
  return textOrNull(row, column) ?? ''
}

/** A column's text, or null. */
export function textOrNull(row: Row, column: number): string | null {
  const value = row[column] ?? null
  if (value === null || typeof value === 'string') return value
  return Buffer.isBuffer(value) ? value.toString('utf8') : String(value)
}

/** A column's number. */
export function number(row: Row, column: number): number {
  const value = row[column]
  return typeof value === 'number' ? value : Number(textOrNull(row, column) ?? 0)
}

/** A column's bytes, given in hexadecimal, in memory of their own. */
export function bytes(row: Row, column: number): Uint8Array | null {
  const hex = textOrNull(row, column)
  if (hex === null) return null
  const copy = new Uint8Array(hex.length / 2)
  Buffer.from(copy.buffer).write(hex, 'hex')
  return copy
}

/** A column's JSON, or what it was in a row that came as JSON. */
export function json<T>(row: Row, column: number): T | null {
  if (Array.isArray(row[column])) return row[column] as T
  const value = textOrNull(row, column)
  return value === null ? null : (JSON.parse(value) as T)
}

/**
 * An instance.
 *
 * @param entries The column of its dispatch entries, or these.
 * @param first The column of its numbers, which the others follow.
 */
export function toInstance(
  row: Row,
  instanceId: string,
  entries: number | readonly EntryRecord[],
  first: number,
): StoredInstance {
  const numbers = text(row, first).split(' ')
  const head = readHead(text(row, first + 3), {
    instanceId,
    definitionHash: text(row, first + 1),
    revision: Number(numbers[2]),
    createdAt: Number(numbers[3]),
    updatedAt: Number(numbers[4]),
    initialInput: bytes(row, first + 4),
    finalOutput: bytes(row, first + 5),
  })
  const signals = json<Pick<StoredInstance, 'cancel' | 'pause'>>(row, first + 2)
  const records = typeof entries === 'number' ? (json<EntryRecord[]>(row, entries) ?? []) : entries
  return {
    generation: numbers[0] ?? '',
    version: Number(numbers[1]),
    head,
    entries: records.map((record) => toEntry(head, record)),
    cancel: signals?.cancel ?? null,
    pause: signals?.pause ?? null,
    queuedEvents: Number(numbers[5]),
  }
}

/** The last head at a task that was read, without its input. */
let lastRead: { readonly record: string; readonly head: SnapshotHead } | null = null

/** A head from its record: of instances that are claimed one after the other most have the same one. */
export function readHead(record: string, columns: HeadColumns): SnapshotHead {
  if (record !== lastRead?.record) {
    const head = decodeHead(record, columns)
    if (positionOf(head)?.kind === 'at-task') {
      lastRead = { record, head: { ...head, initialInput: null } }
    }
    return head
  }
  const { head } = lastRead
  return {
    instanceId: columns.instanceId,
    definitionHash: columns.definitionHash,
    revision: columns.revision,
    createdAt: columns.createdAt,
    updatedAt: columns.updatedAt,
    initialInput: columns.initialInput,
    state: head.state,
    priority: head.priority,
    tags: head.tags,
    deadline: head.deadline,
    retries: head.retries,
    loopIterations: head.loopIterations,
    traceParent: head.traceParent,
  }
}

/** Rows that came as one text each. */
export function jsonRows(rows: readonly Row[]): readonly Row[] {
  return rows.map((row) => json<Row>(row, 0) ?? [])
}

/** An output, and the task that it is of. */
export function toResult(row: Row, task: number, output: number): TaskResult {
  return { taskId: text(row, task), output: bytes(row, output) ?? new Uint8Array(0) }
}

function toEntry(head: SnapshotHead, record: EntryRecord): DispatchEntry {
  // By their places: to take an array apart is to iterate over it, which is slow until it is compiled.
  return {
    taskId: record[0],
    priority: record[1],
    tags: tagsOf(head, record[0]),
    attempt: record[2],
    lastFailedWorker: record[3],
    availableSince: record[4],
    inputTaskId: record[5],
    deliveries: record[6],
    timer: record[7],
    claim: toClaim(record),
  }
}

function toClaim(record: EntryRecord): HeldClaim | null {
  const workerId = record[8]
  const token = record[9]
  const claimedAt = record[10]
  if (workerId === null || token === null || claimedAt === null) return null
  return { workerId, token, claimedAt, expiresAt: record[11] }
}

/** A task's tags. */
export function tagsOf(head: SnapshotHead, taskId: string): readonly string[] {
  const position = positionOf(head)
  if (position?.kind !== 'at-fork') return head.tags
  return position.pendingTasks.find((task) => task.taskId === taskId)?.tags ?? []
}

/** Where among an instance's rows a task is: 0 where it is the only one. */
export function slotOf(head: SnapshotHead, taskId: string): number {
  return positionOf(head)?.kind === 'at-fork' ? forkSlot(taskId) : 0
}

/** Where a task is that is of a fork. */
export function forkSlot(taskId: string): number {
  return (hash(taskId) % (NO_TASK - 1)) + 1
}

/** The class of the queue that an entry is in when it is ready. */
export function classOf(route: number, entry: DispatchEntry): number {
  if (entry.taskId === TIMER_TASK_ID) return 0
  const { priority, lastFailedWorker } = entry
  const mark = lastFailedWorker === null ? 0 : markOf(lastFailedWorker)
  return route * CLASSES_OF_ROUTE + priority * 2 ** 24 + mark
}

/** Tells workers apart in a class. Should two have the same, one's failed tasks come last for the other too. */
export function markOf(workerId: string): number {
  return hash(workerId) & 0xffffff || 1
}

/** FNV-1a, with the finalizer of MurmurHash3. */
function hash(value: string): number {
  let h = 0x811c9dc5
  for (let index = 0; index < value.length; index += 1) {
    h = Math.imul(h ^ value.charCodeAt(index), 0x01000193)
  }
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
