import {
  applyOutcome,
  type ClaimedTask,
  type ClaimNext,
  type CommitReceipt,
  type CommitTaskParams,
  type InstanceStatus,
  type TaskClaimRef,
  type TaskOutcome,
} from '@sayiir/persistence-core'
import {
  applySignals,
  type CommitRecord,
  compareIds,
  isHeldBy,
  isRepeated,
  isServed,
  notFound,
  orderKey,
  type PlanOptions,
} from '@sayiir/persistence-core/adapter'
import type { Connection } from './database.ts'
import { claimTasks, ifReadable, toClaimedTask } from './dispatch.ts'
import { InstanceEdit } from './instance-edit.ts'
import { readResult, readTask } from './records.ts'
import type { Transaction } from './transaction.ts'

interface CommitRow {
  readonly worker_id: string
  readonly token: number
  readonly revision: number
  readonly status: InstanceStatus
  readonly next_instance_id: string | null
  readonly next_task_id: string | null
  readonly next_token: number | null
}

/** Rule D6, in one transaction: the outcome, the claim given up, the following task claimed. */
export function commitTask(
  transaction: Transaction,
  { claim, outcome, claimNext }: CommitTaskParams,
  agingIntervalMs: number,
): CommitReceipt {
  const { db } = transaction
  const { instanceId, taskId, workerId } = claim
  const edit = InstanceEdit.loadAt(transaction, instanceId, taskId)
  if (edit === null) throw notFound(instanceId)
  if (!isHeldBy(edit.entryOf(taskId), claim)) {
    const record = readRecord(db, instanceId, taskId)
    if (isRepeated(record, claim)) return repeat(db, record)
  }
  edit.mustBeOpen()
  const { token } = edit.mustHold(claim)
  const wasPaused = edit.head.state.status === 'paused'
  apply(transaction, edit, claim, outcome)
  const { revision } = edit.head
  const { status } = edit.head.state
  let next: ClaimedTask | null = null
  if (claimNext === undefined || wasPaused) {
    edit.flush()
  } else {
    next = claimOwn(transaction, edit, workerId, claimNext, agingIntervalMs)
    if (next === null) {
      const { ttlMs, ...filter } = claimNext
      const request = { filter, workerId, ttlMs, limit: 1, agingIntervalMs }
      next = claimTasks(transaction, request).tasks[0] ?? null
    }
  }
  const record = { workerId, token, revision, status, next: next?.claim ?? null }
  writeRecord(db, instanceId, taskId, record)
  return { revision, status, next }
}

/** The outcome, then what is pending, a cancel before a pause. */
function apply(
  { now }: Transaction,
  edit: InstanceEdit,
  claim: TaskClaimRef,
  outcome: TaskOutcome,
): void {
  const { taskId } = claim
  let options: PlanOptions = {}
  if (outcome.kind === 'completed') {
    edit.keepBranches(taskId)
    options = { completed: taskId }
  } else if (outcome.kind === 'retry') options = { retried: taskId }
  // Throws for a wrong outcome: before anything is written.
  const after = applyOutcome(edit.head, claim, outcome, now)
  const controlled = applySignals(after, edit.pendingSignals(), now)
  if (outcome.kind === 'completed') edit.putResult(taskId, outcome.output)
  edit.change(controlled, options)
}

/** The best task of the same instance, claimed; a retry that this worker failed itself is left for the general search. */
function claimOwn(
  transaction: Transaction,
  edit: InstanceEdit,
  workerId: string,
  { ttlMs, ...filter }: ClaimNext,
  agingIntervalMs: number,
): ClaimedTask | null {
  if (edit.isOpen) edit.advanceTimer()
  const free = edit.isOpen ? edit.freeEntries : []
  const [best] = free
    .filter(({ tags }) => isServed(filter, edit.head.definitionHash, tags))
    .filter(({ lastFailedWorker }) => lastFailedWorker !== workerId)
    .sort(
      (a, b) =>
        orderKey(a, agingIntervalMs) - orderKey(b, agingIntervalMs) ||
        a.availableSince - b.availableSince ||
        compareIds(a.taskId, b.taskId),
    )
  const claim = best === undefined ? null : edit.claim(best.taskId, workerId, ttlMs)
  edit.flush()
  const entry = best === undefined ? undefined : edit.entryOf(best.taskId)
  if (claim === null || entry === undefined) return null
  const { db } = transaction
  const { inputTaskId } = entry
  const input = inputTaskId === null ? null : readResult(db, edit.instanceId, inputTaskId)
  return toClaimedTask(db, { head: edit.head, entry, input }, claim)
}

/** The first receipt, with the task that came with it if it is still held, and can be read. */
function repeat(db: Connection, record: CommitRecord): CommitReceipt {
  const { revision, status } = record
  let next: ClaimedTask | null = null
  ifReadable(() => {
    next = readNext(db, record)
  })
  return { revision, status, next }
}

function readNext(db: Connection, { workerId, next }: CommitRecord): ClaimedTask | null {
  const task = next === null ? null : readTask(db, next.instanceId, next.taskId)
  const claim = task?.entry.claim
  if (next === null || task === null || claim == null) return null
  return isHeldBy(task.entry, { ...next, workerId }) ? toClaimedTask(db, task, claim) : null
}

function readRecord(db: Connection, instanceId: string, taskId: string): CommitRecord | null {
  const row = db.get<CommitRow>(
    `SELECT worker_id, token, revision, status, next_instance_id, next_task_id, next_token
    FROM {commit_record} WHERE instance_id = ? AND task_id = ?`,
    instanceId,
    taskId,
  )
  if (row === undefined) return null
  const { next_instance_id: nextInstanceId, next_task_id: nextTaskId, next_token: token } = row
  const hasNext = nextInstanceId !== null && nextTaskId !== null && token !== null
  return {
    workerId: row.worker_id,
    token: row.token,
    revision: row.revision,
    status: row.status,
    next: hasNext ? { instanceId: nextInstanceId, taskId: nextTaskId, token } : null,
  }
}

function writeRecord(
  db: Connection,
  instanceId: string,
  taskId: string,
  { workerId, token, revision, status, next }: CommitRecord,
): void {
  db.run(
    `INSERT OR REPLACE INTO {commit_record} (instance_id, task_id, worker_id, token, revision,
      status, next_instance_id, next_task_id, next_token)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    instanceId,
    taskId,
    workerId,
    token,
    revision,
    status,
    next?.instanceId ?? null,
    next?.taskId ?? null,
    next?.token ?? null,
  )
}
