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
  type HeldClaim,
  isUnreadable,
  notFound,
  positionOf,
  toAvailableTask,
} from '@sayiir/persistence-core/adapter'
import type { Connection } from './database.ts'
import { InstanceEdit } from './instance-edit.ts'
import { type ReadyQuery, readyTasks, type TaskKey } from './ready-queue.ts'
import { QUEUE, type ReadTask, readTask, withPayloads } from './records.ts'
import { forgetCommit, newClaim, writeClaim } from './task-rows.ts'
import type { Transaction } from './transaction.ts'

/** Signals and timers that one dispatch call takes care of at most. */
const UPKEEP_LIMIT = 100
/** Expired claims that are put back at a time: no fewer than a call can hand out. */
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
      EXISTS (SELECT 1 FROM {signal} INDEXED BY {signal_due} WHERE due_at <= ?)
      OR EXISTS (SELECT 1 FROM {task} INDEXED BY {task_timer}
        WHERE queue = ${QUEUE.timer} AND available_since <= ?)
      OR EXISTS (SELECT 1 FROM {task} INDEXED BY {task_claimed}
        WHERE queue = ${QUEUE.claimed} AND expires_at <= ?) AS due`,
    now,
    now,
    now,
  )
  return row?.due === 1
}

/**
 * What any dispatch call does for all, in bounded numbers: applies control signals that no worker
 * is there to apply (rule G4), completes workflows whose last delay is over (rule E1), and puts
 * tasks whose claims have expired back in the queue. Those keep their claim until it is replaced.
 *
 * @returns whether more claims have expired than were put back.
 */
function upkeep(transaction: Transaction): boolean {
  const { db, now } = transaction
  if (!needsUpkeep(db, now)) return false
  takeCareOf(
    transaction,
    'SELECT instance_id FROM {signal} INDEXED BY {signal_due} WHERE due_at <= ? ORDER BY due_at',
    (edit) => {
      // One that had two was there before.
      if (edit.signals === 0) return
      edit.change(applySignals(edit.head, edit.pendingSignals(), now))
      edit.flush()
    },
  )
  takeCareOf(
    transaction,
    `SELECT instance_id FROM {task} INDEXED BY {task_timer}
    WHERE queue = ${QUEUE.timer} AND available_since <= ? ORDER BY available_since`,
    (edit) => {
      if (edit.advanceTimer()) edit.flush()
    },
  )
  const expired = db.run(
    `UPDATE {task} SET queue = ${QUEUE.ready} WHERE (instance_id, task_id) IN (
      SELECT instance_id, task_id FROM {task} INDEXED BY {task_claimed}
      WHERE queue = ${QUEUE.claimed} AND expires_at <= ?
      ORDER BY expires_at LIMIT ${EXPIRED_LIMIT}
    )`,
    now,
  )
  return expired === EXPIRED_LIMIT
}

/**
 * Does something with the instances that are due by a query, a bounded number of them. Those that can
 * not be read stay due, and are passed over, however many they are.
 */
function takeCareOf(
  transaction: Transaction,
  due: string,
  work: (edit: InstanceEdit) => void,
): void {
  const { db, now } = transaction
  let unreadable = 0
  for (let left = UPKEEP_LIMIT; left > 0; ) {
    const page = db.all<{ instance_id: string }>(
      `${due} LIMIT ${UPKEEP_LIMIT} OFFSET ?`,
      now,
      unreadable,
    )
    for (const { instance_id: instanceId } of page) {
      const wrong = ifReadable(() => {
        const edit = InstanceEdit.load(transaction, instanceId)
        if (edit !== null) work(edit)
      })
      if (wrong === null) left -= 1
      else unreadable += 1
    }
    if (page.length < UPKEEP_LIMIT) return
  }
}

/** The best tasks after {@link upkeep}, which goes on while these are too few and claims have expired. */
function availableTasks(
  transaction: Transaction,
  query: Omit<ReadyQuery, 'now'>,
): readonly TaskKey[] {
  const { db, routes, now } = transaction
  for (;;) {
    const more = upkeep(transaction)
    const { tasks } = readyTasks(db, routes, { ...query, now })
    if (!more || tasks.length === query.limit) return tasks
  }
}

/** Tasks that were claimed, and what is wrong with those of them that can not be read. */
interface Claimed {
  readonly tasks: readonly ClaimedTask[]
  readonly failure: BackendError | null
}

/**
 * The best available tasks, claimed. One that can not be read is claimed as well, so that it is out of
 * everybody's way until that expires.
 */
export function claimTasks(transaction: Transaction, request: ClaimRequest): Claimed {
  const { workerId, ttlMs } = request
  const tasks: ClaimedTask[] = []
  let failure: BackendError | null = null
  for (const key of availableTasks(transaction, request)) {
    const claim = newClaim(transaction, workerId, ttlMs)
    const wrong = ifReadable(() => {
      const task = describeClaimed(transaction, key, claim)
      tasks.push(task)
    })
    writeClaim(transaction, key.instanceId, key.taskId, claim)
    if (wrong === null) continue
    failure ??= wrong
    forgetCommit(transaction, key.instanceId, key.taskId)
  }
  return { tasks, failure }
}

function describeClaimed(transaction: Transaction, key: TaskKey, claim: HeldClaim): ClaimedTask {
  const { db } = transaction
  const { instanceId, taskId } = key
  let task = mustRead(db, key)
  if (task.entry.timer) {
    advanced(transaction, instanceId).flush()
    task = mustRead(db, key)
  }
  const claimed = toClaimedTask(db, { ...task, entry: claimEntry(task.entry, claim) }, claim)
  if (task.isRecorded) forgetCommit(transaction, instanceId, taskId)
  return claimed
}

/** The best available tasks, unclaimed; timers that stand before them are advanced. */
export function findTasks(
  transaction: Transaction,
  query: Omit<ReadyQuery, 'now'>,
): AvailableTask[] {
  const { db } = transaction
  return readable(availableTasks(transaction, query), (key) => {
    const task = mustRead(db, key)
    if (!task.entry.timer) return toTask(db, task)
    advanced(transaction, key.instanceId).flush()
    return toTask(db, mustRead(db, key))
  })
}

/** Tasks that were found, as their worker gets them; null if a timer must be advanced first. */
export function describeTasks(db: Connection, tasks: readonly TaskKey[]): AvailableTask[] | null {
  const read = readable(tasks, (key) => mustRead(db, key))
  return read.some(({ entry }) => entry.timer) ? null : readable(read, (task) => toTask(db, task))
}

/** What comes of those that can be read; throws if there are some, and none of them can. */
function readable<K, T>(keys: readonly K[], read: (key: K) => T): T[] {
  const found: T[] = []
  let failure: BackendError | null = null
  for (const key of keys) {
    const wrong = ifReadable(() => {
      found.push(read(key))
    })
    failure ??= wrong
  }
  if (failure !== null && found.length === 0) throw failure
  return found
}

/** Does something with an instance; what is wrong with it if it can not be read, which must hold up no other. */
export function ifReadable(work: () => void): BackendError | null {
  try {
    work()
    return null
  } catch (error) {
    if (isUnreadable(error)) return error
    throw error
  }
}

/** The instance, gone on from a timer that is due; written once flushed. */
function advanced(transaction: Transaction, instanceId: string): InstanceEdit {
  const edit = InstanceEdit.load(transaction, instanceId)
  if (edit === null) throw notFound(instanceId)
  edit.advanceTimer()
  return edit
}

function mustRead(db: Connection, { instanceId, taskId }: TaskKey): ReadTask {
  const task = readTask(db, instanceId, taskId)
  if (task === null) {
    const message = 'a task in the queue has no instance'
    throw new BackendError('SERIALIZATION', message, { instanceId, taskId })
  }
  return task
}

function toTask(db: Connection, task: Omit<ReadTask, 'isRecorded'>): AvailableTask {
  return describe(withPayloads(db, task.head), task)
}

/** A claimed task with all that its worker needs. */
export function toClaimedTask(
  db: Connection,
  task: Omit<ReadTask, 'isRecorded'>,
  claim: HeldClaim,
): ClaimedTask {
  const head = withPayloads(db, task.head)
  return {
    task: describe(head, task),
    claim: { instanceId: head.instanceId, taskId: task.entry.taskId, ...claim },
    head,
  }
}

/** A join's inputs are its branches. */
function describe(
  head: SnapshotHead,
  { entry, input }: Pick<ReadTask, 'entry' | 'input'>,
): AvailableTask {
  const nothing = new Uint8Array(0)
  const isJoin = positionOf(head)?.kind === 'at-join'
  return toAvailableTask(head, entry, isJoin ? nothing : (input ?? head.initialInput ?? nothing))
}
