import type { InstanceStatus, SnapshotHead, TaskResult } from '@sayiir/persistence-core'
import {
  type DispatchEntry,
  decodeHead,
  encodeHead,
  type HeldClaim,
  mapBranches,
  positionOf,
  STORED_ELSEWHERE,
} from '@sayiir/persistence-core/adapter'
import type { Connection } from './database.ts'

/** Bits of the `signals` column. */
export const SIGNAL_BITS = { cancel: 1, pause: 2 } as const

/** The `queue` column: which index a task is in. */
export const QUEUE = { none: 0, ready: 1, claimed: 2, timer: 3 } as const

/** Which results an instance has, so that a save need not read them to know. */
export interface ResultSet {
  /** Of the instance: another one after it was deleted and made anew. */
  readonly generation: number
  /** The last number given to a result. */
  seq: number
  count: number
  /** The sum of the numbers' hashes. */
  digest: number
}

/** A row of `instance`. In its head, payloads that have rows of their own are {@link STORED_ELSEWHERE}. */
export interface StoredInstance {
  readonly head: SnapshotHead
  /** {@link SIGNAL_BITS} of what is pending. */
  readonly signals: number
  readonly results: ResultSet
}

interface HeadRow {
  readonly definition_hash: string
  readonly revision: number
  readonly created_at: number
  readonly updated_at: number
  readonly head: string
}

interface InstanceRow extends HeadRow {
  readonly signals: number
  readonly generation: number
  readonly result_seq: number
  readonly result_count: number
  readonly result_digest: number
}

/** A row of `task`. */
export interface StoredEntry {
  readonly entry: DispatchEntry
  readonly routeId: number
  readonly queue: number
}

interface EntryRow {
  readonly task_id: string
  readonly last_failed_worker: string
  readonly priority: number
  readonly available_since: number
  readonly timer: number
  readonly input_task_id: string | null
  readonly attempt: number
  readonly deliveries: number
  readonly worker_id: string | null
  readonly token: number | null
  readonly claimed_at: number | null
  readonly expires_at: number | null
}

interface TaskRow extends EntryRow {
  readonly route_id: number
  readonly queue: number
}

const HEAD_COLUMNS = 'definition_hash, revision, created_at, updated_at, head'
const INSTANCE_COLUMNS = `${HEAD_COLUMNS}, signals, generation, result_seq, result_count, result_digest`
const ENTRY_COLUMNS = `task_id, last_failed_worker, priority, available_since, timer, input_task_id,
  attempt, deliveries, worker_id, token, claimed_at, expires_at`
const TASK_COLUMNS = `${ENTRY_COLUMNS}, route_id, queue`

/** One instance's row, or null. */
export function readInstance(db: Connection, instanceId: string): StoredInstance | null {
  const row = db.get<InstanceRow>(
    `SELECT ${INSTANCE_COLUMNS} FROM {instance} WHERE id = ?`,
    instanceId,
  )
  return row === undefined ? null : toInstance(instanceId, row)
}

/** One instance's row with that of one of its tasks, if it has such a task; null without the instance. */
export function readInstanceAndEntry(
  db: Connection,
  instanceId: string,
  taskId: string,
): { readonly stored: StoredInstance; readonly entry: StoredEntry | null } | null {
  const row = db.get<InstanceRow & (TaskRow | { readonly task_id: null })>(
    `SELECT ${INSTANCE_COLUMNS}, ${TASK_COLUMNS}
    FROM {instance} LEFT JOIN {task} ON instance_id = id AND task_id = ? WHERE id = ?`,
    taskId,
    instanceId,
  )
  if (row === undefined) return null
  const stored = toInstance(instanceId, row)
  return { stored, entry: row.task_id === null ? null : toStoredEntry(stored.head, row) }
}

/** A task of the queue with what its worker needs. */
export interface ReadTask {
  readonly head: SnapshotHead
  readonly entry: DispatchEntry
  /** The output that is its input, if there is one. */
  readonly input: Uint8Array | null
  /** Whether there is a record of its last commit. */
  readonly isRecorded: boolean
}

/**
 * A task that was found in the queue, in one statement, and without what only a commit needs: this
 * is the hot path of every claim, and each column costs.
 */
export function readTask(db: Connection, instanceId: string, taskId: string): ReadTask | null {
  const row = db.get<
    HeadRow &
      EntryRow & { initial_input: Uint8Array | null; input: Uint8Array | null; recorded: number }
  >(
    `SELECT ${HEAD_COLUMNS}, ${ENTRY_COLUMNS},
      (SELECT bytes FROM {payload} p WHERE p.instance_id = i.id AND p.kind = 'initial-input') AS initial_input,
      (SELECT output FROM {result} r WHERE r.instance_id = i.id AND r.task_id = t.input_task_id) AS input,
      EXISTS (SELECT 1 FROM {commit_record} c
        WHERE c.instance_id = i.id AND c.task_id = t.task_id) AS recorded
    FROM {task} t JOIN {instance} i ON i.id = t.instance_id
    WHERE t.instance_id = ? AND t.task_id = ?`,
    instanceId,
    taskId,
  )
  if (row === undefined) return null
  const { initial_input: initialInput, input, recorded } = row
  const head = toHead(instanceId, row, initialInput)
  return { head, entry: toEntry(head, row), input, isRecorded: recorded === 1 }
}

function toHead(instanceId: string, row: HeadRow, initialInput: Uint8Array | null): SnapshotHead {
  return decodeHead(row.head, {
    instanceId,
    definitionHash: row.definition_hash,
    revision: row.revision,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    initialInput,
    finalOutput: STORED_ELSEWHERE,
  })
}

function toInstance(instanceId: string, row: InstanceRow): StoredInstance {
  return {
    head: toHead(instanceId, row, STORED_ELSEWHERE),
    signals: row.signals,
    results: {
      generation: row.generation,
      seq: row.result_seq,
      count: row.result_count,
      digest: row.result_digest,
    },
  }
}

/** An instance's status, or null if there is none of that id. */
export function readStatus(
  db: Connection,
  instanceId: string,
): { readonly status: InstanceStatus; readonly signals: number } | null {
  return (
    db.get<{ status: InstanceStatus; signals: number }>(
      'SELECT status, signals FROM {instance} WHERE id = ?',
      instanceId,
    ) ?? null
  )
}

/** The dispatch entries of an instance. */
export function readEntries(db: Connection, head: SnapshotHead): StoredEntry[] {
  return db
    .all<TaskRow>(`SELECT ${TASK_COLUMNS} FROM {task} WHERE instance_id = ?`, head.instanceId)
    .map((row) => toStoredEntry(head, row))
}

function toStoredEntry(head: SnapshotHead, row: TaskRow): StoredEntry {
  return { entry: toEntry(head, row), routeId: row.route_id, queue: row.queue }
}

function toEntry(head: SnapshotHead, row: EntryRow): DispatchEntry {
  return {
    taskId: row.task_id,
    priority: row.priority,
    tags: tagsOf(head, row.task_id),
    attempt: row.attempt,
    lastFailedWorker: row.last_failed_worker === '' ? null : row.last_failed_worker,
    availableSince: row.available_since,
    inputTaskId: row.input_task_id,
    deliveries: row.deliveries,
    timer: row.timer === 1,
    claim: toClaim(row),
  }
}

/** The claim columns of a row. */
export function toClaim(
  row: Pick<EntryRow, 'worker_id' | 'token' | 'claimed_at' | 'expires_at'>,
): HeldClaim | null {
  const { worker_id: workerId, token, claimed_at: claimedAt, expires_at: expiresAt } = row
  if (workerId === null || token === null || claimedAt === null) return null
  return { workerId, token, claimedAt, expiresAt }
}

function tagsOf(head: SnapshotHead, taskId: string): readonly string[] {
  const position = positionOf(head)
  if (position?.kind !== 'at-fork') return head.tags
  return position.pendingTasks.find((task) => task.taskId === taskId)?.tags ?? []
}

/** The head's text: outputs of branches that are stored as results are left out (`isStored`). */
export function toText(head: SnapshotHead, isStored: (result: TaskResult) => boolean): string {
  return encodeHead(
    mapBranches(head, (result) =>
      result.output !== STORED_ELSEWHERE && isStored(result)
        ? { taskId: result.taskId, output: STORED_ELSEWHERE }
        : result,
    ),
  )
}

/** The head with the payloads that have rows of their own. */
export function withPayloads(db: Connection, head: SnapshotHead): SnapshotHead {
  const { instanceId, state } = head
  const filled: SnapshotHead = {
    ...withBranches(db, head),
    initialInput:
      head.initialInput === STORED_ELSEWHERE
        ? readPayload(db, instanceId, 'initial-input')
        : head.initialInput,
  }
  if (state.status !== 'completed' || state.finalOutput !== STORED_ELSEWHERE) return filled
  const finalOutput = readPayload(db, instanceId, 'final-output') ?? new Uint8Array(0)
  return { ...filled, state: { ...state, finalOutput } }
}

/** The head with the outputs of finished branches. */
function withBranches(db: Connection, head: SnapshotHead): SnapshotHead {
  return mapBranches(head, (result) =>
    result.output === STORED_ELSEWHERE
      ? {
          taskId: result.taskId,
          output: readResult(db, head.instanceId, result.taskId) ?? new Uint8Array(0),
        }
      : result,
  )
}

/** One output, or null. */
export function readResult(db: Connection, instanceId: string, taskId: string): Uint8Array | null {
  const row = db.get<{ output: Uint8Array }>(
    'SELECT output FROM {result} WHERE instance_id = ? AND task_id = ?',
    instanceId,
    taskId,
  )
  return row?.output ?? null
}

/** The initial input or the final output, or null. */
export function readPayload(
  db: Connection,
  instanceId: string,
  kind: 'initial-input' | 'final-output',
): Uint8Array | null {
  const row = db.get<{ bytes: Uint8Array }>(
    'SELECT bytes FROM {payload} WHERE instance_id = ? AND kind = ?',
    instanceId,
    kind,
  )
  return row?.bytes ?? null
}
