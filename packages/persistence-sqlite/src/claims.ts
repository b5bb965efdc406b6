import type {
  ClaimTaskParams,
  InstanceStatus,
  TaskClaim,
  TaskClaimRef,
} from '@sayiir/persistence-core'
import {
  claimLost,
  type HeldClaim,
  isEnded,
  isLive,
  notFound,
  type Prolongation,
  prolonged,
  terminal,
} from '@sayiir/persistence-core/adapter'
import type { Connection } from './database.ts'
import { InstanceEdit } from './instance-edit.ts'
import { QUEUE, toClaim } from './records.ts'
import { setSignalsDue } from './signal-rows.ts'
import type { Transaction } from './transaction.ts'

/** A task's claim, and what of its instance decides about it. */
interface ClaimRow {
  readonly status: InstanceStatus
  readonly signals: number
  readonly queue: number | null
  readonly worker_id: string | null
  readonly token: number | null
  readonly claimed_at: number | null
  readonly expires_at: number | null
}

/** Rules C1, C6: the claim, or null where the task is not available. */
export function claimTask(
  transaction: Transaction,
  { instanceId, taskId, workerId, ttlMs }: ClaimTaskParams,
): TaskClaim | null {
  const edit = InstanceEdit.load(transaction, instanceId)
  if (edit === null) throw notFound(instanceId)
  if (!edit.isOpen) return null
  edit.advanceTimer()
  const isFree = edit.freeEntries.some((entry) => entry.taskId === taskId)
  const claim = isFree ? edit.claim(taskId, workerId, ttlMs) : null
  edit.flush()
  return claim === null ? null : { instanceId, taskId, ...claim }
}

/** Rule C4: gives a claim up, if somebody has it. */
export function releaseClaim(transaction: Transaction, ref: TaskClaimRef): void {
  const { db } = transaction
  const row = readClaim(db, ref)
  const held = toClaim(row)
  if (held === null) return
  mustBe(held, ref)
  db.run(
    `UPDATE {task} SET queue = ?, worker_id = NULL, token = NULL, claimed_at = NULL, expires_at = NULL
    WHERE instance_id = ? AND task_id = ?`,
    isHandedOut(row) ? QUEUE.ready : QUEUE.none,
    ref.instanceId,
    ref.taskId,
  )
  if (row.signals !== 0) setSignalsDue(db, ref.instanceId)
  transaction.madeAvailable = true
}

/** Rule C5: a claim that is held, live or expired, gets another expiry. */
export function prolongClaim(
  transaction: Transaction,
  ref: TaskClaimRef,
  prolongation: Prolongation,
): TaskClaim {
  const { db, now } = transaction
  const { instanceId, taskId } = ref
  const row = readClaim(db, ref)
  if (isEnded(row.status)) throw terminal(instanceId, row.status)
  const held = toClaim(row)
  if (held === null) throw claimLost(instanceId, taskId)
  mustBe(held, ref)
  if (held.expiresAt === null) return { instanceId, taskId, ...held }
  const claim: HeldClaim = { ...held, expiresAt: prolonged(held.expiresAt, prolongation, now) }
  const claimed = isLive(claim, now) ? QUEUE.claimed : QUEUE.ready
  const queue = isHandedOut(row) ? claimed : QUEUE.none
  if (queue === row.queue) {
    // The heartbeat: it leaves the index of ready tasks alone.
    db.run(
      'UPDATE {task} SET expires_at = ? WHERE instance_id = ? AND task_id = ?',
      claim.expiresAt,
      instanceId,
      taskId,
    )
  } else {
    db.run(
      'UPDATE {task} SET expires_at = ?, queue = ? WHERE instance_id = ? AND task_id = ?',
      claim.expiresAt,
      queue,
      instanceId,
      taskId,
    )
  }
  if (row.signals !== 0) setSignalsDue(db, instanceId)
  return { instanceId, taskId, ...claim }
}

/** Throws `NOT_FOUND`. */
function readClaim(db: Connection, { instanceId, taskId }: TaskClaimRef): ClaimRow {
  const row = db.get<ClaimRow>(
    `SELECT i.status, i.signals, t.queue, t.worker_id, t.token, t.claimed_at, t.expires_at
    FROM {instance} i LEFT JOIN {task} t ON t.instance_id = i.id AND t.task_id = ?
    WHERE i.id = ?`,
    taskId,
    instanceId,
  )
  if (row === undefined) throw notFound(instanceId)
  return row
}

function mustBe(held: HeldClaim, ref: TaskClaimRef): void {
  const isIts =
    held.workerId === ref.workerId && (ref.token === undefined || held.token === ref.token)
  if (!isIts) throw claimLost(ref.instanceId, ref.taskId)
}

function isHandedOut({ status, signals }: ClaimRow): boolean {
  return status === 'in-progress' && signals === 0
}
