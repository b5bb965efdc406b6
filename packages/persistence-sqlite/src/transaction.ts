import type { Connection } from './database.ts'
import type { Routes } from './routes.ts'
import { mustBeCurrent, STORED_VERSION } from './schema.ts'

const CLOCK = `CAST(round(unixepoch('subsec') * 1000) AS INTEGER)`

/** What is read when a transaction begins. */
interface Begun {
  readonly now: number
  readonly sequence: number
  readonly version: number | null
}

/** One write transaction, which holds the store's one write lock. */
export class Transaction {
  readonly db: Connection
  readonly routes: Routes
  /** The store's clock, read when the transaction began: epoch milliseconds. */
  readonly now: number
  readonly #committed: (() => void)[] = []
  readonly #firstSequence: number
  #sequence: number
  /** Whether a task was queued that somebody may wait for. */
  madeAvailable = false

  constructor(db: Connection, routes: Routes) {
    this.db = db
    this.routes = routes
    const row = db.get<Begun>(
      `SELECT ${CLOCK} AS now, (SELECT value FROM {meta} WHERE key = 'sequence') AS sequence,
        ${STORED_VERSION} AS version`,
    ) as Begun
    mustBeCurrent(row.version)
    this.now = row.now
    this.#firstSequence = row.sequence
    this.#sequence = row.sequence
  }

  /** A number that no transaction ever had: a fencing token, or a generation. */
  nextSequence(): number {
    this.#sequence += 1
    return this.#sequence
  }

  /** Runs `action` once what was written is there to stay. */
  onCommit(action: () => void): void {
    this.#committed.push(action)
  }

  /** Ends the transaction; a row a batch, however many numbers were given out. */
  commit(): void {
    if (this.#sequence !== this.#firstSequence) {
      this.db.run(`UPDATE {meta} SET value = ? WHERE key = 'sequence'`, this.#sequence)
    }
    this.db.control('COMMIT')
    for (const action of this.#committed) action()
  }
}

/** SQLite's clock, never the process's own: epoch milliseconds. */
export function readClock(db: Connection): number {
  return (db.get<{ now: number }>(`SELECT ${CLOCK} AS now`) as { now: number }).now
}
