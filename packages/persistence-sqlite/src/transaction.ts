import type { Connection } from './database.ts'
import type { Routes } from './routes.ts'

/** One write transaction, which holds the store's one write lock. */
export class Transaction {
  readonly db: Connection
  readonly routes: Routes
  /** The store's clock, read when the transaction began: epoch milliseconds. */
  readonly now: number
  readonly #committed: (() => void)[] = []
  #sequence: number | null = null
  /** Whether a task was queued that somebody may wait for. */
  madeAvailable = false

  constructor(db: Connection, routes: Routes) {
    this.db = db
    this.routes = routes
    this.now = readClock(db)
  }

  /** A number that no transaction ever had: a fencing token, or a generation. */
  nextSequence(): number {
    this.#sequence ??= (
      this.db.get<{ value: number }>(`SELECT value FROM {meta} WHERE key = 'sequence'`) as {
        value: number
      }
    ).value
    this.#sequence += 1
    return this.#sequence
  }

  /** Runs `action` once what was written is there to stay. */
  onCommit(action: () => void): void {
    this.#committed.push(action)
  }

  /** Ends the transaction; a row a batch, however many numbers were given out. */
  commit(): void {
    if (this.#sequence !== null) {
      this.db.run(`UPDATE {meta} SET value = ? WHERE key = 'sequence'`, this.#sequence)
    }
    this.db.control('COMMIT')
    for (const action of this.#committed) action()
  }
}

/** SQLite's clock, never the process's own: epoch milliseconds. */
export function readClock(db: Connection): number {
  const row = db.get<{ now: number }>(
    `SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) AS now`,
  )
  return (row as { now: number }).now
}
