import {
  type AvailableTask,
  BackendError,
  type ClaimedTask,
  type SnapshotHead,
  type WorkerFilter,
} from '@sayiir/persistence-core'
import {
  applySignals,
  claimEntry,
  type DispatchEntry,
  type HeldClaim,
  notFound,
  positionOf,
  toAvailableTask,
} from '@sayiir/persistence-core/adapter'
import type { Connection } from './database.ts'
import { InstanceEdit } from './instance-edit.ts'
import { type ReadyQuery, readyTasks, type TaskKey } from './ready-queue.ts'
import { QUEUE, readEntry, readInstance, readResult, withPayloads } from './records.ts'
import { forgetCommit, newClaim, writeClaim } from './task-rows.ts'
import type { Transaction } from './transaction.ts'

/** Signals and timers that one dispatch call takes care of at most. */
const UPKEEP_LIMIT = 100
/** Expired claims that one dispatch call puts back at most: no fewer than a call can hand out. */
const EXPIRED_LIMIT = 1000

/** Who wants work, and how long for. */
export interface ClaimRequest {
  readonly filter: WorkerFilter
  readonly workerId: string
  readonly ttlMs: number | null
  readonly limit: number
  readonly agingIntervalMs: number
}

/** Whether a dispatch call has to do {@link upkeep} first. */
export function needsUpkeep(db: Connection, now: number): boolean {
  const row = db.get<{ due: number }>(
    `SELECT
      EXISTS (SELECT 1 FROM {signal} INDEXED BY {signal_due} WHERE due_at <= ?1)
      OR EXISTS (SELECT 1 FROM {task} INDEXED BY {task_timer}
        WHERE queue = ${QUEUE.timer} AND available_since <= ?1)
      OR EXISTS (SELECT 1 FROM {task} INDEXED BY {task_claimed}
        WHERE queue = ${QUEUE.claimed} AND expires_at <= ?1) AS due`,
    now,
  )
  return row?.due === 1
}

/**
 * What any dispatch call does for all, in bounded numbers: applies control signals that no worker
 * is there to apply (rule G4), completes workflows whose last delay is over (rule E1), and puts
 * tasks whose claims have expired back in the queue. Those keep their claim until it is replaced.
 */
export function upkeep(transaction: Transaction): void {
  const { db, now } = transaction
  if (!needsUpkeep(db, now)) return
  const signalled = db.all<{ instance_id: string }>(
    `SELECT DISTINCT instance_id FROM {signal} INDEXED BY {signal_due}
    WHERE due_at <= ? ORDER BY due_at LIMIT ${UPKEEP_LIMIT}`,
    now,
  )
  for (const { instance_id: instanceId } of signalled) {
    const edit = InstanceEdit.load(transaction, instanceId)
    if (edit === null) continue
    edit.change(applySignals(edit.head, edit.pendingSignals(), now))
    edit.flush()
  }
  const timers = db.all<{ instance_id: string }>(
    `SELECT instance_id FROM {task} INDEXED BY {task_timer}
    WHERE queue = ${QUEUE.timer} AND available_since <= ?
    ORDER BY available_since LIMIT ${UPKEEP_LIMIT}`,
    now,
  )
  for (const { instance_id: instanceId } of timers) {
    const edit = InstanceEdit.load(transaction, instanceId)
    if (edit?.advanceTimer() === true) edit.flush()
  }
  db.run(
    `UPDATE {task} SET queue = ${QUEUE.ready} WHERE (instance_id, task_id) IN (
      SELECT instance_id, task_id FROM {task} INDEXED BY {task_claimed}
      WHERE queue = ${QUEUE.claimed} AND expires_at <= ?
      ORDER BY expires_at LIMIT ${EXPIRED_LIMIT}
    )`,
    now,
  )
}

/** The best available tasks, claimed. */
export function claimTasks(transaction: Transaction, request: ClaimRequest): ClaimedTask[] {
  upkeep(transaction)
  const { db, routes, now } = transaction
  const { workerId, ttlMs } = request
  const { tasks } = readyTasks(db, routes, { ...request, now })
  return tasks.map(({ instanceId, taskId }) => {
    const { head, entry } = readTask(db, { instanceId, taskId })
    if (entry.timer) {
      const edit = advanced(transaction, instanceId)
      const claim = edit.claim(taskId, workerId, ttlMs)
      edit.flush()
      return toClaimedTask(db, edit.head, edit.entryOf(taskId) ?? entry, claim)
    }
    const claim = newClaim(transaction, workerId, ttlMs)
    writeClaim(transaction, instanceId, taskId, claim)
    forgetCommit(transaction, instanceId, taskId)
    return toClaimedTask(db, head, claimEntry(entry, claim), claim)
  })
}

/** The best available tasks, unclaimed; timers that stand before them are advanced. */
export function findTasks(
  transaction: Transaction,
  query: Omit<ReadyQuery, 'now'>,
): AvailableTask[] {
  upkeep(transaction)
  const { db, routes, now } = transaction
  const { tasks } = readyTasks(db, routes, { ...query, now })
  return tasks.map((key) => {
    let { head, entry } = readTask(db, key)
    if (entry.timer) {
      advanced(transaction, key.instanceId).flush()
      ;({ head, entry } = readTask(db, key))
    }
    return describe(db, head, entry)
  })
}

/** Tasks that were found, as their worker gets them; null if a timer must be advanced first. */
export function describeTasks(db: Connection, tasks: readonly TaskKey[]): AvailableTask[] | null {
  const read = tasks.map((key) => readTask(db, key))
  if (read.some(({ entry }) => entry.timer)) return null
  return read.map(({ head, entry }) => describe(db, head, entry))
}

function describe(db: Connection, bare: SnapshotHead, entry: DispatchEntry): AvailableTask {
  const head = withPayloads(db, bare)
  return toAvailableTask(head, entry, inputOf(db, head, entry))
}

/** The instance, gone on from a timer that is due; written once flushed. */
function advanced(transaction: Transaction, instanceId: string): InstanceEdit {
  const edit = InstanceEdit.load(transaction, instanceId)
  if (edit === null) throw notFound(instanceId)
  edit.advanceTimer()
  return edit
}

/** A claimed task with all that its worker needs. */
export function toClaimedTask(
  db: Connection,
  bare: SnapshotHead,
  entry: DispatchEntry,
  claim: HeldClaim,
): ClaimedTask {
  const head = withPayloads(db, bare)
  return {
    task: toAvailableTask(head, entry, inputOf(db, head, entry)),
    claim: { instanceId: head.instanceId, taskId: entry.taskId, ...claim },
    head,
  }
}

function readTask(
  db: Connection,
  { instanceId, taskId }: TaskKey,
): { head: SnapshotHead; entry: DispatchEntry } {
  const head = readInstance(db, instanceId)?.head
  const entry = head === undefined ? undefined : readEntry(db, head, taskId)?.entry
  if (head === undefined || entry === undefined) {
    throw new BackendError('SERIALIZATION', 'a task in the queue has no instance', {
      instanceId,
      taskId,
    })
  }
  return { head, entry }
}

function inputOf(db: Connection, head: SnapshotHead, entry: DispatchEntry): Uint8Array {
  const nothing = new Uint8Array(0)
  if (positionOf(head)?.kind === 'at-join') return nothing
  const before =
    entry.inputTaskId === null ? null : readResult(db, head.instanceId, entry.inputTaskId)
  return before ?? head.initialInput ?? nothing
}
