import type {
  Abortable,
  AvailableTask,
  BackendStats,
  CancelDetails,
  Capabilities,
  ClaimedTask,
  ClaimTaskParams,
  ClaimTasksParams,
  CommitReceipt,
  CommitTaskParams,
  FindTasksParams,
  ListFilter,
  PersistentBackend,
  PruneParams,
  PruneResult,
  SaveOptions,
  SaveTaskResultParams,
  SendEventOptions,
  SignalDetails,
  SignalKind,
  SignalRequest,
  SnapshotSummary,
  TaskClaim,
  TaskClaimRef,
  TaskWakeup,
  WaitForWakeupParams,
  WorkflowSnapshot,
} from '@sayiir/persistence-core'
import { Lifecycle } from '@sayiir/persistence-core/adapter'
import { open } from './connect.ts'
import { Connection, type SqliteDatabase } from './database.ts'
import { toBackendError } from './errors.ts'
import { SqliteMaintenance } from './maintenance.ts'
import { Nudge } from './nudge.ts'
import {
  type CheckedOptions,
  checkConnectOptions,
  checkOptions,
  type SqliteBackendOptions,
  type SqliteConnectOptions,
} from './options.ts'
import { Routes } from './routes.ts'
import { setUp } from './schema.ts'
import { SqliteSignalStore } from './signal-store.ts'
import { SqliteSnapshotStore } from './snapshot-store.ts'
import { Store } from './store.ts'
import { KnownResults } from './stored-results.ts'
import { SqliteTaskClaimStore } from './task-claim-store.ts'
import { SqliteTaskResultStore } from './task-result-store.ts'
import { WriteQueue } from './write-queue.ts'

/**
 * Durable workflows in one SQLite file, which any number of processes of one machine may share.
 *
 * @example
 * ```ts
 * import { SqliteBackend } from '@sayiir/persistence-sqlite'
 *
 * await using backend = await SqliteBackend.connect({ path: 'workflows.db' })
 * ```
 */
export class SqliteBackend implements PersistentBackend {
  readonly name: string = 'sqlite'
  readonly capabilities: Capabilities
  readonly #lifecycle: Lifecycle
  readonly #release: () => void
  readonly #snapshots: SqliteSnapshotStore
  readonly #results: SqliteTaskResultStore
  readonly #signals: SqliteSignalStore
  readonly #claims: SqliteTaskClaimStore
  readonly #maintenance: SqliteMaintenance

  private constructor(db: Connection, options: CheckedOptions, release: () => void) {
    const inFile = isInFile(db)
    this.capabilities = {
      durable: inFile,
      shared: inFile,
      wakeups: 'poll',
      clock: 'store',
      order: 'global',
    }
    this.#lifecycle = new Lifecycle(this.name)
    this.#release = release
    const routes = new Routes()
    const nudge = new Nudge()
    const store = new Store({
      db,
      routes,
      nudge,
      known: new KnownResults(),
      queue: new WriteQueue(db, routes, options.busyTimeoutMs, nudge),
      lifecycle: this.#lifecycle,
      options,
    })
    this.#snapshots = new SqliteSnapshotStore(store)
    this.#results = new SqliteTaskResultStore(store)
    this.#signals = new SqliteSignalStore(store)
    this.#claims = new SqliteTaskClaimStore(store)
    this.#maintenance = new SqliteMaintenance(store)
  }

  /**
   * Opens the file, which is made if it is missing, and sets its tables up. `close` closes it.
   *
   * @throws `TypeError`/`RangeError`; `SCHEMA` for a file that is no database, another program's,
   * or migrated by a newer version (it is left untouched); `UNAVAILABLE` if it can't be opened or
   * stays locked; `BACKEND` if it can't be written.
   */
  static async connect(options: SqliteConnectOptions): Promise<SqliteBackend> {
    const checked = checkConnectOptions(options)
    const db = await open(checked)
    return new SqliteBackend(db, checked, () => db.close())
  }

  /**
   * Works on a connection of the caller's, a `DatabaseSync` of `node:sqlite`, which stays theirs:
   * `close` leaves it open, and its journal mode and pragmas stay as they are. Its tables may be
   * among others.
   *
   * @throws as {@link SqliteBackend.connect}.
   */
  static async fromClient(
    database: SqliteDatabase,
    options: SqliteBackendOptions = {},
  ): Promise<SqliteBackend> {
    const checked = checkOptions(options)
    if (typeof (database as Partial<SqliteDatabase> | null)?.prepare !== 'function') {
      throw new TypeError('database must be a DatabaseSync of node:sqlite')
    }
    const db = new Connection(database, checked.tablePrefix)
    try {
      await setUp(db, { ...checked, owned: false })
      return new SqliteBackend(db, checked, () => {})
    } catch (error) {
      throw toBackendError(error)
    }
  }

  saveSnapshot(snapshot: WorkflowSnapshot, options?: SaveOptions): Promise<WorkflowSnapshot> {
    return this.#snapshots.saveSnapshot(snapshot, options)
  }

  loadSnapshot(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot> {
    return this.#snapshots.loadSnapshot(instanceId, options)
  }

  deleteSnapshot(instanceId: string, options?: Abortable): Promise<void> {
    return this.#snapshots.deleteSnapshot(instanceId, options)
  }

  listSnapshots(filter?: ListFilter): AsyncIterable<SnapshotSummary> {
    return this.#snapshots.listSnapshots(filter)
  }

  saveTaskResult(params: SaveTaskResultParams, options?: Abortable): Promise<void> {
    return this.#results.saveTaskResult(params, options)
  }

  loadTaskResult(
    instanceId: string,
    taskId: string,
    options?: Abortable,
  ): Promise<Uint8Array | null> {
    return this.#results.loadTaskResult(instanceId, taskId, options)
  }

  storeSignal(
    instanceId: string,
    kind: SignalKind,
    request?: SignalDetails,
    options?: Abortable,
  ): Promise<void> {
    return this.#signals.storeSignal(instanceId, kind, request, options)
  }

  getSignal(
    instanceId: string,
    kind: SignalKind,
    options?: Abortable,
  ): Promise<SignalRequest | null> {
    return this.#signals.getSignal(instanceId, kind, options)
  }

  clearSignal(instanceId: string, kind: SignalKind, options?: Abortable): Promise<void> {
    return this.#signals.clearSignal(instanceId, kind, options)
  }

  checkAndCancel(
    instanceId: string,
    details?: CancelDetails,
    options?: Abortable,
  ): Promise<boolean> {
    return this.#signals.checkAndCancel(instanceId, details, options)
  }

  checkAndPause(instanceId: string, options?: Abortable): Promise<boolean> {
    return this.#signals.checkAndPause(instanceId, options)
  }

  checkControlSignals(
    instanceId: string,
    details?: CancelDetails,
    options?: Abortable,
  ): Promise<'cancelled' | 'paused' | null> {
    return this.#signals.checkControlSignals(instanceId, details, options)
  }

  unpause(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot> {
    return this.#signals.unpause(instanceId, options)
  }

  sendEvent(
    instanceId: string,
    signalName: string,
    payload: Uint8Array,
    options?: SendEventOptions,
  ): Promise<void> {
    return this.#signals.sendEvent(instanceId, signalName, payload, options)
  }

  consumeEvent(
    instanceId: string,
    signalName: string,
    options?: Abortable,
  ): Promise<Uint8Array | null> {
    return this.#signals.consumeEvent(instanceId, signalName, options)
  }

  claimTask(params: ClaimTaskParams, options?: Abortable): Promise<TaskClaim | null> {
    return this.#claims.claimTask(params, options)
  }

  releaseTaskClaim(claim: TaskClaimRef, options?: Abortable): Promise<void> {
    return this.#claims.releaseTaskClaim(claim, options)
  }

  extendTaskClaim(
    claim: TaskClaimRef,
    additionalMs: number,
    options?: Abortable,
  ): Promise<TaskClaim> {
    return this.#claims.extendTaskClaim(claim, additionalMs, options)
  }

  renewTaskClaim(claim: TaskClaimRef, ttlMs: number, options?: Abortable): Promise<TaskClaim> {
    return this.#claims.renewTaskClaim(claim, ttlMs, options)
  }

  findAvailableTasks(params: FindTasksParams, options?: Abortable): Promise<AvailableTask[]> {
    return this.#claims.findAvailableTasks(params, options)
  }

  claimAvailableTasks(params: ClaimTasksParams, options?: Abortable): Promise<ClaimedTask[]> {
    return this.#claims.claimAvailableTasks(params, options)
  }

  commitTask(params: CommitTaskParams, options?: Abortable): Promise<CommitReceipt> {
    return this.#claims.commitTask(params, options)
  }

  waitForWakeup(params: WaitForWakeupParams, options?: Abortable): Promise<TaskWakeup | null> {
    return this.#claims.waitForWakeup(params, options)
  }

  prune(params: PruneParams, options?: Abortable): Promise<PruneResult> {
    return this.#maintenance.prune(params, options)
  }

  stats(options?: Abortable): Promise<BackendStats> {
    return this.#maintenance.stats(options)
  }

  checkHealth(options?: Abortable): Promise<void> {
    return this.#maintenance.checkHealth(options)
  }

  close(): Promise<void> {
    return this.#lifecycle.close(this.#release)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** A database in memory, or in a temporary file of its own, has no name. */
function isInFile(db: Connection): boolean {
  const databases = db.all<{ name: string; file: string | null }>('PRAGMA database_list')
  return Boolean(databases.find(({ name }) => name === 'main')?.file)
}
