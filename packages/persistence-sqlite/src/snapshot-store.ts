import type { InstanceStatus, SnapshotSummary, WorkflowSnapshot } from '@sayiir/persistence-core'
import {
  type CheckedListFilter,
  type CheckedSaveOptions,
  compareIds,
  conflict,
  notFound,
  type RunStep,
  type SnapshotCalls,
  type TakeResult,
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
export class SqliteSnapshotStore implements SnapshotCalls {
  readonly takeResult: TakeResult
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
    const { known, options } = store
    this.takeResult = (result, name) => known.take(result, name, options.maxPayloadBytes)
  }

  saveSnapshot(
    snapshot: WorkflowSnapshot,
    conditions: CheckedSaveOptions,
  ): Promise<WorkflowSnapshot> {
    return this.#store.write((transaction) =>
      save(transaction, this.#store.known, snapshot, conditions),
    )
  }

  loadSnapshot(instanceId: string): Promise<WorkflowSnapshot> {
    return this.#store.read((db) => load(db, this.#store.known, instanceId))
  }

  deleteSnapshot(instanceId: string): Promise<void> {
    return this.#store.write(({ db }) => {
      if (!deleteInstance(db, instanceId)) throw notFound(instanceId)
    })
  }

  async *listSnapshots(
    { statuses, definitionHashes, prefix, after }: CheckedListFilter,
    run: RunStep,
  ): AsyncGenerator<SnapshotSummary> {
    let from = after ?? ''
    // The prefix itself is an id that has it.
    let including = prefix !== null && compareIds(prefix, from) > 0
    if (including) from = prefix ?? ''
    for (;;) {
      const rows = await run(() => this.#store.read((db) => readPage(db, from, including)))
      for (const row of rows) {
        if (prefix !== null && !row.id.startsWith(prefix)) return
        if (statuses?.includes(row.status) === false) continue
        if (definitionHashes?.includes(row.definition_hash) === false) continue
        yield toSummary(row)
      }
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
