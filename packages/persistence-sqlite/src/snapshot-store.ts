import type {
  Abortable,
  InstanceStatus,
  ListFilter,
  SaveOptions,
  SnapshotStore,
  SnapshotSummary,
  WorkflowSnapshot,
} from '@sayiir/persistence-core'
import {
  type CheckedSaveOptions,
  checkAbortable,
  checkId,
  checkListFilter,
  checkSaveOptions,
  checkSnapshot,
  compareIds,
  conflict,
  notFound,
  toHead,
  withCompletedTasks,
} from '@sayiir/persistence-core/adapter'
import type { Connection } from './database.ts'
import { InstanceEdit } from './instance-edit.ts'
import { writePayload } from './instance-rows.ts'
import { readInstance, withPayloads } from './records.ts'
import type { Store } from './store.ts'
import { type KnownResults, readResults, replaceResults } from './stored-results.ts'
import { deleteInstance } from './tables.ts'
import type { Transaction } from './transaction.ts'

/** Rows of a listing that are read at a time. */
const PAGE = 500

interface SummaryRow {
  readonly id: string
  readonly definition_hash: string
  readonly status: InstanceStatus
  readonly revision: number
  readonly created_at: number
  readonly updated_at: number
}

/** Snapshots in a database. */
export class SqliteSnapshotStore implements SnapshotStore {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async saveSnapshot(snapshot: WorkflowSnapshot, options?: SaveOptions): Promise<WorkflowSnapshot> {
    const { known } = this.#store
    const { maxPayloadBytes } = this.#store.options
    const checked = checkSnapshot(snapshot, maxPayloadBytes, (result, name) =>
      known.take(result, name, maxPayloadBytes),
    )
    const conditions = checkSaveOptions(options, checked)
    return this.#store.write(options?.signal, (transaction) =>
      save(transaction, known, checked, conditions),
    )
  }

  async loadSnapshot(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot> {
    checkId(instanceId, 'instanceId')
    return this.#store.read(checkAbortable(options), (db) =>
      load(db, this.#store.known, instanceId),
    )
  }

  async deleteSnapshot(instanceId: string, options?: Abortable): Promise<void> {
    checkId(instanceId, 'instanceId')
    return this.#store.write(checkAbortable(options), ({ db }) => {
      if (!deleteInstance(db, instanceId)) throw notFound(instanceId)
    })
  }

  async *listSnapshots(filter?: ListFilter): AsyncGenerator<SnapshotSummary> {
    const { statuses, definitionHashes, prefix, after, limit, signal } = checkListFilter(filter)
    const { lifecycle } = this.#store
    lifecycle.check(signal)
    let left = limit
    let from = after ?? ''
    // The prefix itself is an id that has it.
    let including = prefix !== null && compareIds(prefix, from) > 0
    if (including) from = prefix ?? ''
    for (;;) {
      const rows = await this.#store.read(signal, (db) => readPage(db, from, including))
      for (const row of rows) {
        if (prefix !== null && !row.id.startsWith(prefix)) return
        if (statuses?.includes(row.status) === false) continue
        if (definitionHashes?.includes(row.definition_hash) === false) continue
        lifecycle.check(signal)
        yield toSummary(row)
        left -= 1
        if (left === 0) return
      }
      lifecycle.check(signal)
      const last = rows.at(-1)
      if (last === undefined || rows.length < PAGE) return
      from = last.id
      including = false
    }
  }
}

/** Rules S1–S6. */
function save(
  transaction: Transaction,
  known: KnownResults,
  snapshot: WorkflowSnapshot,
  { expectedRevision, claim, release }: CheckedSaveOptions,
): WorkflowSnapshot {
  const { db } = transaction
  const { instanceId } = snapshot
  const stored = InstanceEdit.load(transaction, instanceId)
  const revision = stored?.head.revision ?? null
  if (stored === null) {
    if (claim !== null) throw notFound(instanceId)
  } else {
    stored.mustBeOpen()
    if (claim !== null) stored.mustHold(claim)
  }
  if (expectedRevision !== null && expectedRevision !== (revision ?? 0)) {
    throw conflict(instanceId, expectedRevision, revision)
  }
  const edit = stored ?? InstanceEdit.create(transaction, toHead(snapshot))
  const completedTasks = new Map(snapshot.state.completedTasks)
  replaceResults(transaction, known, instanceId, edit.results, completedTasks)
  for (const result of completedTasks.values()) edit.noteStored(result)
  const { revision: before, createdAt } = edit.head
  const event = edit.change({ ...toHead(snapshot), revision: before, createdAt })
  if (event !== null) {
    const { generation, seq } = edit.results
    transaction.onCommit(() => known.remember(event, { generation, seq }))
    completedTasks.delete(event.taskId)
    completedTasks.set(event.taskId, event)
  }
  if (release && claim !== null) edit.release(claim.taskId)
  edit.flush()
  if (stored !== null || snapshot.initialInput !== null) {
    writePayload(db, instanceId, 'initial-input', snapshot.initialInput)
  }
  return withCompletedTasks(edit.head, completedTasks)
}

/** A whole snapshot; throws `NOT_FOUND`. */
export function load(db: Connection, known: KnownResults, instanceId: string): WorkflowSnapshot {
  const stored = readInstance(db, instanceId)
  if (stored === null) throw notFound(instanceId)
  const { generation } = stored.results
  return withCompletedTasks(
    withPayloads(db, stored.head),
    readResults(db, known, instanceId, generation),
  )
}

function readPage(db: Connection, from: string, including: boolean): SummaryRow[] {
  return db.all<SummaryRow>(
    `SELECT id, definition_hash, status, revision, created_at, updated_at FROM {instance}
    WHERE id ${including ? '>=' : '>'} ? ORDER BY id LIMIT ${PAGE}`,
    from,
  )
}

function toSummary(row: SummaryRow): SnapshotSummary {
  return {
    instanceId: row.id,
    definitionHash: row.definition_hash,
    status: row.status,
    revision: row.revision,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}
