import type { Lifecycle, Nudge } from '@sayiir/persistence-core/adapter'
import { whileBusy } from './busy.ts'
import type { Connection } from './database.ts'
import type { DatabaseFile } from './database-file.ts'
import { toBackendError } from './errors.ts'
import type { CheckedOptions } from './options.ts'
import type { Routes } from './routes.ts'
import { mustBeCurrent, STORED_VERSION } from './schema.ts'
import type { KnownResults } from './stored-results.ts'
import type { Transaction } from './transaction.ts'
import type { WriteQueue } from './write-queue.ts'

const VERSION = `SELECT ${STORED_VERSION} AS version`

/** What the parts of a backend share. */
export interface StoreParts {
  readonly db: Connection
  readonly file: DatabaseFile
  readonly routes: Routes
  readonly known: KnownResults
  readonly queue: WriteQueue
  readonly lifecycle: Lifecycle
  readonly options: CheckedOptions
  readonly nudge: Nudge
}

/** The database with its lock, its life and its memory. */
export class Store {
  readonly file: DatabaseFile
  readonly routes: Routes
  readonly known: KnownResults
  readonly lifecycle: Lifecycle
  readonly options: CheckedOptions
  readonly nudge: Nudge
  readonly #db: Connection
  readonly #queue: WriteQueue

  constructor(parts: StoreParts) {
    this.#db = parts.db
    this.#queue = parts.queue
    this.file = parts.file
    this.routes = parts.routes
    this.known = parts.known
    this.lifecycle = parts.lifecycle
    this.options = parts.options
    this.nudge = parts.nudge
  }

  /** Changes the database: `work` checks first, then writes, and never waits. */
  write<T>(work: (transaction: Transaction) => T): Promise<T> {
    return this.#queue.run(work)
  }

  /** Reads in a transaction, so that all is of one state. */
  async read<T>(work: (db: Connection) => T): Promise<T> {
    const db = this.#db
    try {
      return await whileBusy(this.options.busyTimeoutMs, () => {
        db.control('BEGIN')
        try {
          mustBeCurrent(db.get<{ version: number | null }>(VERSION)?.version)
          const result = work(db)
          db.control('COMMIT')
          return result
        } catch (error) {
          db.rollback()
          throw error
        }
      })
    } catch (error) {
      throw toBackendError(error)
    }
  }
}
