import type { SnapshotHead } from '@sayiir/persistence-core'
import {
  type DispatchEntry,
  type HeldClaim,
  isLive,
  later,
  TIMER_TASK_ID,
} from '@sayiir/persistence-core/adapter'
import { QUEUE, type StoredEntry } from './records.ts'
import type { Transaction } from './transaction.ts'

/** Makes the stored entries of an instance these, writing only those that differ. */
export function writeEntries(
  transaction: Transaction,
  head: SnapshotHead,
  isOpen: boolean,
  stored: ReadonlyMap<string, StoredEntry>,
  entries: readonly DispatchEntry[],
): void {
  const { db, routes, now } = transaction
  const { instanceId, definitionHash } = head
  const gone = new Set(stored.keys())
  for (const entry of entries) gone.delete(entry.taskId)
  for (const entry of entries) {
    const before = stored.get(entry.taskId)
    const routeId = routes.idOf(db, definitionHash, entry.tags)
    const queue = queueOf(entry, isOpen, now)
    const [replaced] = gone
    if (before === undefined && replaced !== undefined) {
      // The next step takes the row of the one before it.
      gone.delete(replaced)
      update(transaction, instanceId, replaced, entry, routeId, queue)
    } else if (before === undefined) {
      insert(transaction, instanceId, entry, routeId, queue)
    } else if (
      before.routeId !== routeId ||
      before.queue !== queue ||
      !isSame(before.entry, entry)
    ) {
      update(transaction, instanceId, entry.taskId, entry, routeId, queue)
    } else continue
    transaction.madeAvailable ||= queue === QUEUE.ready || queue === QUEUE.timer
  }
  for (const taskId of gone) {
    db.run('DELETE FROM {task} WHERE instance_id = ? AND task_id = ?', instanceId, taskId)
  }
}

/** A claim that begins now. */
export function newClaim(
  transaction: Transaction,
  workerId: string,
  ttlMs: number | null,
): HeldClaim {
  const { now } = transaction
  return {
    workerId,
    token: transaction.nextSequence(),
    claimedAt: now,
    expiresAt: ttlMs === null ? null : later(now, ttlMs),
  }
}

/** Writes the claim of a task that was ready and needed nothing else. */
export function writeClaim(
  { db }: Transaction,
  instanceId: string,
  taskId: string,
  claim: HeldClaim,
): void {
  db.run(
    `UPDATE {task} SET queue = ${QUEUE.claimed}, deliveries = deliveries + 1,
      worker_id = ?, token = ?, claimed_at = ?, expires_at = ?
    WHERE instance_id = ? AND task_id = ?`,
    claim.workerId,
    claim.token,
    claim.claimedAt,
    claim.expiresAt,
    instanceId,
    taskId,
  )
}

/** Drops the record of a task's last commit: the task is claimed again. */
export function forgetCommit({ db }: Transaction, instanceId: string, taskId: string): void {
  db.run('DELETE FROM {commit_record} WHERE instance_id = ? AND task_id = ?', instanceId, taskId)
}

/** Which index a task belongs in. */
function queueOf(entry: DispatchEntry, isOpen: boolean, now: number): number {
  if (!isOpen) return QUEUE.none
  if (entry.taskId === TIMER_TASK_ID) return QUEUE.timer
  return isLive(entry.claim, now) ? QUEUE.claimed : QUEUE.ready
}

function isSame(a: DispatchEntry, b: DispatchEntry): boolean {
  return (
    a.claim?.token === b.claim?.token &&
    a.claim?.expiresAt === b.claim?.expiresAt &&
    a.deliveries === b.deliveries &&
    a.priority === b.priority &&
    a.availableSince === b.availableSince &&
    a.lastFailedWorker === b.lastFailedWorker &&
    a.attempt === b.attempt &&
    a.inputTaskId === b.inputTaskId &&
    a.timer === b.timer
  )
}

function insert(
  { db }: Transaction,
  instanceId: string,
  entry: DispatchEntry,
  routeId: number,
  queue: number,
): void {
  db.run(
    `INSERT INTO {task} (route_id, last_failed_worker, priority, available_since, queue, timer,
      input_task_id, attempt, deliveries, worker_id, token, claimed_at, expires_at,
      task_id, instance_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ...columns(entry, routeId, queue),
    entry.taskId,
    instanceId,
  )
}

function update(
  { db }: Transaction,
  instanceId: string,
  taskId: string,
  entry: DispatchEntry,
  routeId: number,
  queue: number,
): void {
  db.run(
    `UPDATE {task} SET route_id = ?, last_failed_worker = ?, priority = ?, available_since = ?,
      queue = ?, timer = ?, input_task_id = ?, attempt = ?, deliveries = ?,
      worker_id = ?, token = ?, claimed_at = ?, expires_at = ?, task_id = ?
    WHERE instance_id = ? AND task_id = ?`,
    ...columns(entry, routeId, queue),
    entry.taskId,
    instanceId,
    taskId,
  )
}

function columns(
  entry: DispatchEntry,
  routeId: number,
  queue: number,
): readonly (string | number | null)[] {
  const { claim } = entry
  return [
    routeId,
    entry.lastFailedWorker ?? '',
    entry.priority,
    entry.availableSince,
    queue,
    entry.timer ? 1 : 0,
    entry.inputTaskId,
    entry.attempt,
    entry.deliveries,
    claim?.workerId ?? null,
    claim?.token ?? null,
    claim?.claimedAt ?? null,
    claim?.expiresAt ?? null,
  ]
}
