import type { WorkerFilter } from '@sayiir/persistence-core'
import { compareIds, Heap, orderKey } from '@sayiir/persistence-core/adapter'
import type { Connection } from './database.ts'
import type { Routes } from './routes.ts'

/** Rows of a class that are read at a time at most. */
const CHUNK = 64

/** Who looks for work. */
export interface ReadyQuery {
  readonly filter: WorkerFilter
  /** Null: nobody in particular. */
  readonly workerId: string | null
  readonly limit: number
  readonly agingIntervalMs: number
  /** Epoch milliseconds by the store's clock. */
  readonly now: number
}

/** A task's name. */
export interface TaskKey {
  readonly instanceId: string
  readonly taskId: string
}

/** What is ready, and when the next that is not yet will be. */
export interface ReadyTasks {
  readonly tasks: readonly TaskKey[]
  /** Epoch milliseconds; Infinity if nothing that the worker serves is waiting for its time. */
  readonly nextDueAt: number
}

interface QueueRow {
  readonly available_since: number
  readonly instance_id: string
  readonly task_id: string
}

interface ClassRow extends QueueRow {
  readonly route_id: number
  readonly last_failed_worker: string
  readonly priority: number
}

/** A class of tasks, the next of them, and what of the others has been read. */
interface Cursor {
  readonly key: ClassRow
  row: QueueRow
  rank: number
  rest: QueueRow[]
  at: number
}

/**
 * The best tasks that a worker may take now, best first (rules D2–D4).
 *
 * Tasks of one class (route, worker that failed it last, priority) rank in the order in which they
 * became available, and those that are due come before those that are not. So each class is a range
 * of the index, its best task the first of it, and what is not due, or of a class that the worker
 * does not take, is never passed over: one seek a class, one more for each row taken.
 */
export function readyTasks(db: Connection, routes: Routes, query: ReadyQuery): ReadyTasks {
  const { workerId, limit, agingIntervalMs, now } = query
  const tasks: TaskKey[] = []
  const others = new Heap<Cursor>(compareCursors)
  const ownFailures = new Heap<Cursor>(compareCursors)
  let nextDueAt = Infinity
  for (const key of classes(db, routes, query.filter)) {
    if (key.available_since > now) {
      nextDueAt = Math.min(nextDueAt, key.available_since)
      continue
    }
    const cursor = { key, row: key, rank: rankOf(key, key, agingIntervalMs), rest: [], at: 0 }
    const isOwn = workerId !== null && key.last_failed_worker === workerId
    if (isOwn) ownFailures.push(cursor)
    else others.push(cursor)
  }
  for (const heap of [others, ownFailures]) {
    while (tasks.length < limit) {
      const cursor = heap.pop()
      if (cursor === undefined) break
      tasks.push({ instanceId: cursor.row.instance_id, taskId: cursor.row.task_id })
      const row = nextRow(db, cursor, limit - tasks.length)
      if (row === undefined || row.available_since > now) continue
      cursor.row = row
      cursor.rank = rankOf(cursor.key, row, agingIntervalMs)
      heap.push(cursor)
    }
  }
  return { tasks, nextDueAt }
}

/** The first task of each class that the worker serves, skipping from class to class. */
function* classes(db: Connection, routes: Routes, filter: WorkerFilter): Generator<ClassRow> {
  if (filter.definitionHashes?.length === 0) return
  let served = routes.served(db, filter)
  let row = seek(db, 0, '', 0, 0)
  while (row !== undefined) {
    const { route_id: routeId } = row
    // Others have added routes since.
    if (served !== null && routeId > served.lastId) served = routes.served(db, filter, routeId)
    // After the last that is served come routes that this process has not seen yet.
    const next: number =
      served === null
        ? routeId
        : (firstFrom(served.ids, routeId) ?? Math.max(served.lastId, routeId) + 1)
    if (next === routeId) {
      yield row
      row = seek(db, routeId, row.last_failed_worker, row.priority, Number.MAX_SAFE_INTEGER)
    } else {
      row = seek(db, next, '', 0, 0)
    }
  }
}

/** The first task of the first class that comes after, or of the same class but later. */
function seek(
  db: Connection,
  routeId: number,
  lastFailedWorker: string,
  priority: number,
  availableSince: number,
): ClassRow | undefined {
  return db.get<ClassRow>(
    `SELECT route_id, last_failed_worker, priority, available_since, instance_id, task_id
    FROM {task} INDEXED BY {task_ready}
    WHERE queue = 1
      AND (route_id, last_failed_worker, priority, available_since) > (?, ?, ?, ?)
    ORDER BY route_id, last_failed_worker, priority, available_since, instance_id, task_id
    LIMIT 1`,
    routeId,
    lastFailedWorker,
    priority,
    availableSince,
  )
}

function nextRow(db: Connection, cursor: Cursor, wanted: number): QueueRow | undefined {
  if (wanted === 0) return undefined
  if (cursor.at === cursor.rest.length) {
    const { key, row } = cursor
    cursor.at = 0
    cursor.rest = db.all<QueueRow>(
      `SELECT available_since, instance_id, task_id
      FROM {task} INDEXED BY {task_ready}
      WHERE queue = 1 AND route_id = ? AND last_failed_worker = ? AND priority = ?
        AND (available_since, instance_id, task_id) > (?, ?, ?)
      ORDER BY available_since, instance_id, task_id
      LIMIT ?`,
      key.route_id,
      key.last_failed_worker,
      key.priority,
      row.available_since,
      row.instance_id,
      row.task_id,
      Math.min(wanted, CHUNK),
    )
  }
  const row = cursor.rest[cursor.at]
  cursor.at += 1
  return row
}

/** The first of ascending numbers that is `from` or more. */
function firstFrom(ascending: readonly number[], from: number): number | undefined {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((ascending[middle] as number) < from) low = middle + 1
    else high = middle
  }
  return ascending[low]
}

function rankOf({ priority }: ClassRow, row: QueueRow, agingIntervalMs: number): number {
  return orderKey({ priority, availableSince: row.available_since }, agingIntervalMs)
}

function compareCursors(a: Cursor, b: Cursor): number {
  return (
    a.rank - b.rank ||
    a.row.available_since - b.row.available_since ||
    compareIds(a.row.instance_id, b.row.instance_id) ||
    compareIds(a.row.task_id, b.row.task_id)
  )
}
