import type { Capabilities } from '@sayiir/persistence-core'
import { CheckedBackend, type CheckedCalls, Nudge } from '@sayiir/persistence-core/adapter'
import { open } from './connect.ts'
import { Connection, type SqliteDatabase } from './database.ts'
import { DatabaseFile } from './database-file.ts'
import { toBackendError } from './errors.ts'
import { SqliteMaintenance } from './maintenance.ts'
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
export class SqliteBackend extends CheckedBackend {
  readonly name: string = 'sqlite'
  readonly capabilities: Capabilities
  protected readonly calls: CheckedCalls

  private constructor(db: Connection, options: CheckedOptions, disconnect: () => void) {
    super(options.maxPayloadBytes)
    const file = new DatabaseFile(db)
    this.capabilities = {
      durable: file.exists,
      shared: file.exists,
      wakeups: 'poll',
      clock: 'store',
      order: 'global',
    }
    const routes = new Routes()
    const nudge = new Nudge()
    const store = new Store({
      db,
      file,
      routes,
      nudge,
      known: new KnownResults(),
      queue: new WriteQueue({ db, file, routes, nudge, busyTimeoutMs: options.busyTimeoutMs }),
      lifecycle: this.lifecycle,
      options,
    })
    this.calls = {
      snapshots: new SqliteSnapshotStore(store),
      results: new SqliteTaskResultStore(store),
      signals: new SqliteSignalStore(store),
      claims: new SqliteTaskClaimStore(store),
      maintenance: new SqliteMaintenance(store),
      disconnect,
    }
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
}
