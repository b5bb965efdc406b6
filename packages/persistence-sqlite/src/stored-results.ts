import type { CompletedTasks, TaskResult } from '@sayiir/persistence-core'
import { copyResult } from '@sayiir/persistence-core/adapter'
import type { Connection } from './database.ts'
import type { ResultSet } from './records.ts'
import type { Transaction } from './transaction.ts'

/** Which row a result stands for. */
interface RowOfResult {
  readonly generation: number
  readonly seq: number
}

/**
 * The results that this backend made itself, when it loaded or saved a snapshot, and the rows that
 * they stand for: saving them again needs neither to send nor to read what is stored (rule S6).
 */
export class KnownResults {
  readonly #rows = new WeakMap<TaskResult, RowOfResult>()
  /** Our copies of callers' own objects, which they may save again. */
  readonly #copies = new WeakMap<TaskResult, TaskResult>()

  /** The row, if it is known. */
  rowOf(result: TaskResult): RowOfResult | undefined {
    return this.#rows.get(result)
  }

  /** Remembers that a result of ours is stored. */
  remember(result: TaskResult, row: RowOfResult): void {
    this.#rows.set(result, row)
  }

  /** A caller's result: our own object where it is one or equals one, else a copy. */
  take(result: TaskResult, name: string, maxPayloadBytes: number): TaskResult {
    if (this.#rows.has(result)) return result
    const known = this.#copies.get(result)
    if (known !== undefined && known.taskId === result.taskId && isSame(known, result)) return known
    const copy = copyResult(result, name, maxPayloadBytes)
    this.#copies.set(result, copy)
    return copy
  }
}

/** Whether two results have the same output. */
export function isSame(a: TaskResult, b: TaskResult): boolean {
  return a.output === b.output || Buffer.compare(a.output, b.output) === 0
}

/** A result with its row. */
interface ResultRow {
  readonly task_id: string
  readonly seq: number
  readonly output: Uint8Array
}

/** Every output of an instance, in order of completion. */
export function readResults(
  db: Connection,
  known: KnownResults,
  instanceId: string,
  generation: number,
): CompletedTasks {
  const rows = db.all<ResultRow>(
    'SELECT task_id, seq, output FROM {result} WHERE instance_id = ?',
    instanceId,
  )
  // Sorted here: SQLite would carry the outputs through its sorter.
  rows.sort((a, b) => a.seq - b.seq)
  const results = new Map<string, TaskResult>()
  for (const { task_id: taskId, seq, output } of rows) {
    const result = { taskId, output }
    known.remember(result, { generation, seq })
    results.set(taskId, result)
  }
  return results
}

/** Stores one output, as the newest. */
export function putResult(
  db: Connection,
  instanceId: string,
  set: ResultSet,
  taskId: string,
  output: Uint8Array,
): void {
  set.seq += 1
  const { seq } = set
  const inserted = db.run(
    `INSERT INTO {result} (instance_id, task_id, seq, output) VALUES (?, ?, ?, ?)
    ON CONFLICT DO NOTHING`,
    instanceId,
    taskId,
    seq,
    output,
  )
  if (inserted === 1) {
    set.count += 1
  } else {
    const old = db.get<{ seq: number }>(
      'SELECT seq FROM {result} WHERE instance_id = ? AND task_id = ?',
      instanceId,
      taskId,
    ) as { seq: number }
    set.digest = subtract(set.digest, hash(old.seq))
    db.run(
      'UPDATE {result} SET seq = ?, output = ? WHERE instance_id = ? AND task_id = ?',
      seq,
      output,
      instanceId,
      taskId,
    )
  }
  set.digest = add(set.digest, hash(seq))
}

/**
 * Makes an instance's results these, in this order. Where those that are known to be stored are
 * exactly the stored ones, as when a snapshot was loaded, changed and saved, only the new ones are
 * written and nothing is read.
 */
export function replaceResults(
  transaction: Transaction,
  known: KnownResults,
  instanceId: string,
  set: ResultSet,
  results: CompletedTasks,
): void {
  const { db } = transaction
  const incoming = [...results.values()]
  const kept =
    storedPrefix(known, set, incoming) ?? reconcile(transaction, known, instanceId, set, incoming)
  for (const result of incoming.slice(kept)) {
    putResult(db, instanceId, set, result.taskId, result.output)
    const row = { generation: set.generation, seq: set.seq }
    transaction.onCommit(() => known.remember(result, row))
  }
}

/** How many of the first results are all that is stored, in the same order; null if that is not so. */
function storedPrefix(
  known: KnownResults,
  set: ResultSet,
  incoming: readonly TaskResult[],
): number | null {
  if (incoming.length < set.count) return null
  let digest = 0
  let last = 0
  for (const result of incoming.slice(0, set.count)) {
    const row = known.rowOf(result)
    if (row === undefined || row.generation !== set.generation || row.seq <= last) return null
    last = row.seq
    digest = add(digest, hash(row.seq))
  }
  return digest === set.digest ? set.count : null
}

/**
 * Compares with what is stored: deletes what is not to stay, and leaves the longest beginning that
 * is in order already. Outputs are read only where nothing but their bytes can tell.
 */
function reconcile(
  transaction: Transaction,
  known: KnownResults,
  instanceId: string,
  set: ResultSet,
  incoming: readonly TaskResult[],
): number {
  const { db } = transaction
  const stored = new Map(
    db
      .all<{ task_id: string; seq: number; bytes: number }>(
        'SELECT task_id, seq, length(output) AS bytes FROM {result} WHERE instance_id = ?',
        instanceId,
      )
      .map((row) => [row.task_id, row]),
  )
  const wanted = new Set(incoming.map(({ taskId }) => taskId))
  for (const { task_id: taskId, seq } of stored.values()) {
    if (wanted.has(taskId)) continue
    db.run('DELETE FROM {result} WHERE instance_id = ? AND task_id = ?', instanceId, taskId)
    set.count -= 1
    set.digest = subtract(set.digest, hash(seq))
  }
  let last = 0
  for (const [index, result] of incoming.entries()) {
    const row = stored.get(result.taskId)
    if (row === undefined || row.seq <= last || row.bytes !== result.output.byteLength) return index
    const knownRow = known.rowOf(result)
    const isStored =
      (knownRow?.generation === set.generation && knownRow.seq === row.seq) ||
      db.get(
        'SELECT 1 FROM {result} WHERE instance_id = ? AND task_id = ? AND output = ?',
        instanceId,
        result.taskId,
        result.output,
      ) !== undefined
    if (!isStored) return index
    last = row.seq
    const place = { generation: set.generation, seq: row.seq }
    transaction.onCommit(() => known.remember(result, place))
  }
  return incoming.length
}

/** Digests are sums of 52-bit numbers, modulo 2^52, so that no order of adding matters. */
const MODULUS = 2 ** 52

function add(a: number, b: number): number {
  return (a + b) % MODULUS
}

function subtract(a: number, b: number): number {
  return (a - b + MODULUS) % MODULUS
}

function hash(seq: number): number {
  return (mix(seq ^ 0x9e3779b9) & 0xfffff) * 2 ** 32 + mix(seq)
}

/** The finalizer of MurmurHash3. */
function mix(value: number): number {
  let h = value | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
